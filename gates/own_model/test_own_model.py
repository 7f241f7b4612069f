"""A team brings its own model: another network, operator and pooling become a bundle, and the real gates judge it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.bundle import load_bundle
from ecdd.evidence.merging import read_records
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.own_model.bringing import ONNX, ROOT, TFLITE, ecdd, gates, own_contract, own_data, parts, without_rules
from gates.support.made_models import MadeModel, with_pooled

FEW = 15  # pictures of a class that the contract of this team is content with: one of each golden face and its mirror
FREEZING = ("gates/g3", "--snapshot-update", "-k", "not shipped_model")  # E5.1 to E5.3 compare the files
# an experiment of every kind: pixels, geometry, calibration, parity, battery
SELECTED = (
    "gates/g1/test_e1_9_normalisation.py",
    "gates/g3/test_e3_1_grid_shape.py",
    "gates/g3/test_e3_2_cell_mapping.py",
    "gates/g4/test_e4_1_calibration_set.py",
    "gates/g4/test_e4_4_operating_point.py",
    "gates/g5/test_e5_1_probability_parity.py",
    "gates/g5/test_e5_2_patch_map_parity.py",
    "gates/g5/test_e5_3_pooled_logit_parity.py",
    *(f"gates/g6/test_e6_{name}.py" for name in ("2_time_split", "3_transform_suite", "5_unseen_sources")),
    # one of its many transforms: what is asked is whether a gate crashes on a model that is not ours
    "gates/g6/test_e6_6_field_pixels.py::test_golden_fakes_do_not_become_real[mirrored]",
)
# without their rules, which hold or fail whatever the bundle is: a part of a record, of which no verdict follows
IN_PART = ("E3.3", "E6.1", "E6.4")
SCORES = "calibration_scores.csv"


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the contract, the data, their split, and the bundle that was built from them."""
    folder = tmp_path_factory.mktemp("own")
    manifest, split = own_data(folder / "data", shifts=(0.0,))
    contract = own_contract(folder, calibration__min_samples_per_class=FEW)
    done = _build(folder / "bundle", contract, "--data", manifest, "--split", split, "--frozen-on", "2026-11-01")
    assert done.returncode == 0, done.stderr
    assert "no training record" in done.stdout
    assert "a classifier that sees only format, size, compression" in done.stdout
    return folder


def _build(out: Path, contract: Path, *more: object, tflite: Path = TFLITE, onnx: Path = ONNX) -> Any:
    return ecdd("bundle", "build", "--tflite", tflite, "--onnx", onnx, "--contract", contract, "--out", out, *more)


def test_the_bundle_says_what_it_holds(brought: Path) -> None:
    bundle = load_bundle(brought / "bundle")
    model, contract = bundle.manifest.model, bundle.contract.policy
    assert (model.architecture, model.parameters, model.weights_sha256) == ("own", None, None)
    assert (model.input_operator, contract.pooling.rule) == ("raw", "mean")
    assert bundle.read("model.tflite") == TFLITE.read_bytes()
    assert bundle.calibration.n_real >= contract.calibration.min_samples_per_class
    assert "training_record.json" not in bundle.manifest.files
    shown = ecdd("bundle", "show", brought / "bundle")
    assert shown.returncode == 0, shown.stderr
    assert "None" not in shown.stdout


def test_its_logits_are_its_own(brought: Path) -> None:
    """The committed calibration logits are what this file says, pooled by its contract."""
    batch = np.random.default_rng(1).normal(0, 1, (2, 256, 256, 3)).astype(np.float32)
    tflite, onnx = TFLiteRuntime(TFLITE).outputs(batch), OnnxRuntime(ONNX).outputs(batch)
    assert np.abs(tflite.maps - onnx.maps).max() < 1e-4
    assert tflite.pooled is not None
    assert np.abs(tflite.pooled - tflite.maps.mean(axis=(1, 2))).max() < 1e-5


def test_the_gates_judge_it(brought: Path, tmp_path: Path) -> None:
    """Golden outputs are frozen, real gates run, what nobody could measure is not tested, and a release is refused."""
    bundle = Path(shutil.copytree(brought / "bundle", tmp_path / "bundle"))
    frozen = gates(bundle, tmp_path / "freezing", *FREEZING)
    assert frozen.exit_code == 0, frozen.output[-3000:]
    judged = gates(bundle, tmp_path / "reports", *SELECTED, *without_rules(*IN_PART))
    records = read_records(tmp_path / "reports")
    verdicts = {key: record.verdict for key, record in records.items()}
    assert judged.exit_code == 1, judged.output[-3000:]
    green = ("E1.9", "E3.1", "E3.2", "E4.1", "E5.1", "E5.2", "E5.3")
    assert {key: verdicts[key] for key in green} == dict.fromkeys(green, "pass"), judged.output[-6000:]
    assert {verdicts[key] for key in ("E6.2", "E6.3")} == {"not_tested"}
    assert verdicts["E4.4"] == "fail", "weights trained on nothing keep no operating point"
    said = {f"{n.what}: {n.why}" for record in records.values() for n in record.not_tested}
    assert any("no weights.safetensors" in text for text in said)
    assert any("no release/scores.parquet" in text for text in said)
    assert all(not record.failures for record in records.values()), "a gate crashed on a model that is not ours"
    found = parts(tmp_path / "reports")
    crashed = {key: part.failures for key, part in found.items()}
    assert crashed == dict.fromkeys([*IN_PART, "E6.6"], ()), "a gate crashed on a model that is not ours"
    without_scores = {key: (bool(found[key].metrics), bool(found[key].not_tested)) for key in ("E6.1", "E6.4")}
    assert without_scores == dict.fromkeys(("E6.1", "E6.4"), (False, True)), "nothing to measure, and said so"
    refused = ecdd("release", bundle, "--dry-run", "--records", tmp_path / "reports")
    assert refused.returncode == 1
    assert "E6.2 time split: claimed and not run" in refused.stdout
    assert "E4.4 operating point:" in refused.stdout


def test_it_judges_pictures(brought: Path) -> None:
    portrait = next((ROOT / "golden" / "in_scope").glob("real_collins.*"))
    done = ecdd("predict", portrait, "--bundle", brought / "bundle", "--json")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line["bundle_digest"] == load_bundle(brought / "bundle").payload_digest
    assert 0 <= line["probability"] <= 1


def test_logits_in_place_of_pictures_are_said_to_be_given(brought: Path, tmp_path: Path) -> None:
    """The same logits give the same calibration; the record says that nobody measured them here."""
    own = brought / "own_contract.yaml"
    done = _build(tmp_path / "given", own, "--scores", brought / "bundle" / SCORES, "--frozen-on", "2026-11-01")
    assert done.returncode == 0, done.stderr
    given, measured = load_bundle(tmp_path / "given").calibration, load_bundle(brought / "bundle").calibration
    assert (given.temperature, given.thresholds) == (measured.temperature, measured.thresholds)
    assert "not scored here" in str(given.metrics["pictures"])


def test_it_is_calibrated_again_without_weights_or_record(brought: Path, tmp_path: Path) -> None:
    """From its own logits: the same numbers, and neither torch nor tensorflow is imported for it."""
    out = tmp_path / "again"
    code = (
        "import sys; from ecdd.cli import main\n"
        f"sys.argv = ['ecdd', 'calibrate', '--bundle', {str(brought / 'bundle')!r}, '--out', {str(out)!r}]\n"
        "try: main()\nexcept SystemExit as end: code = end.code\n"
        "assert not {'torch', 'tensorflow'} & set(sys.modules), 'heavy libraries were imported'\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again, before = load_bundle(out), load_bundle(brought / "bundle")
    assert again.calibration.thresholds == before.calibration.thresholds
    assert "training_record.json" not in again.manifest.files
    assert again.manifest.model == before.manifest.model


def _contract(**changes: float | str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"contract": own_contract(folder, **changes)}


def _made(model: MadeModel) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        (folder / "made.tflite").write_bytes(model.content())
        return {"tflite": folder / "made.tflite"}

    return make


def _damaged(folder: Path) -> dict[str, Any]:
    (folder / "cut.onnx").write_bytes(ONNX.read_bytes()[:3000])
    return {"onnx": folder / "cut.onnx"}


def _no_finite_map(folder: Path) -> dict[str, Any]:
    content = TFLITE.read_bytes()
    bias = np.array([0.1], np.float32).tobytes()
    assert content.count(bias) == 1
    (folder / "nan.tflite").write_bytes(content.replace(bias, np.array([np.nan], np.float32).tobytes()))
    return {"tflite": folder / "nan.tflite"}


def _given(text: str) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        (folder / "given.csv").write_text(text)
        return {"scores": folder / "given.csv"}

    return make


HEADER = "sha256,source,group,label,outcome,logit\n"
REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "input_size": (_made(with_pooled(side=128)), "made.tflite: expected one input image of float32"),
    "grid": (_contract(patch_grid__rows=30), "own.tflite: expected outputs patch_logits (N, 30, 31)"),
    "dtype": (_made(with_pooled(dtype="int32")), "made.tflite: expected one input image of float32"),
    "no_pooled_logit": (_made(MadeModel()), "made.tflite: expected an output pooled_logit (N,) beside the map"),
    "names": (_made(with_pooled(names=("x", "y", "z"))), "made.tflite: expected one input image"),
    "mode": (_contract(quantization__mode="full_int8"), "quantization.mode is full_int8"),
    "damaged": (_damaged, "cut.onnx: expected an ONNX file"),
    "kinds_exchanged": (lambda _: {"tflite": ONNX}, "own.onnx: expected a TFLite file"),
    "no_file": (lambda folder: {"onnx": folder / "gone.onnx"}, "gone.onnx"),
    "not_finite": (_no_finite_map, "nan.tflite: expected outputs of shape"),
    "no_contract": (lambda folder: {"contract": folder / "gone.yaml"}, "gone.yaml"),
    "no_logits": (_given(HEADER), "given.csv: holds no picture"),
    "few_logits": (_given(HEADER + f"{'a' * 64},made,{'a' * 64},1,judged,0.5\n"), "calibration.min_samples_per_class"),
    "broken_logits": (_given(HEADER + "a,b\n"), "given.csv:2: not a line of calibration scores"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_does_not_fit_is_refused_by_name(brought: Path, tmp_path: Path, name: str) -> None:
    change, said = REFUSED[name]
    given = {"contract": brought / "own_contract.yaml", "scores": brought / "bundle" / SCORES} | change(tmp_path)
    scores, contract = given.pop("scores"), given.pop("contract")
    done = _build(tmp_path / "out", contract, "--scores", scores, **given)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists(), "nothing is left of a bundle that was refused"


def test_logits_of_pictures_kept_for_another_use_are_refused(brought: Path, tmp_path: Path) -> None:
    split = brought / "split.csv"
    tagged = tmp_path / "split.csv"
    tagged.write_text(split.read_text().replace("CALIBRATION", "TRAIN"))
    own, scores = brought / "own_contract.yaml", brought / "bundle" / SCORES
    done = _build(tmp_path / "out", own, "--scores", scores, "--split", tagged)
    assert done.returncode == 2
    assert "is tagged TRAIN, not CALIBRATION" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tflite", TFLITE),
        ("--tflite", TFLITE, "--onnx", ONNX, "--contract", "c.yaml"),
        ("--tflite", TFLITE, "--onnx", ONNX, "--contract", "c.yaml", "--data", "d", "--scores", "s.csv"),
        ("--tflite", TFLITE, "--onnx", ONNX, "--contract", "c.yaml", "--data", "d", "--mode", "float32"),
        (),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    done = ecdd("bundle", "build", "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert "--tflite" in done.stderr
