"""``ecdd parity`` as a user meets it: exit codes, messages, files, and a pair that other tools made."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from ecdd.bundle import bundle_path
from ecdd.bundle.loading import load_bundle
from ecdd.cli import app
from ecdd.contract.loading import load_contract
from ecdd.parity.found_layout import TensorNames
from ecdd.parity.parity_metric import ParityError
from ecdd.parity.parity_report import judge_stored
from ecdd.parity.parity_run import ParityRequest, _budget, _declared, _fitted_on
from ecdd.parity.runtime_pair import open_side, side_of_content
from ecdd.runtimes.registry import RuntimeName, RuntimeSettings
from ecdd.specification import CONTRACT, ROOT

FOREIGN = Path(__file__).resolve().parents[2] / "support" / "foreign_pair"
PAIR = [f"--reference=onnx:{FOREIGN / 'small_map.onnx'}", f"--candidate=tflite:{FOREIGN / 'small_map.tflite'}"]
BUNDLE = bundle_path("tiny")
TINY = [f"--reference=bundle:{BUNDLE}:onnx", f"--candidate=bundle:{BUNDLE}", f"--bundle={BUNDLE}"]
FEW = ["--data", "golden", "--most", "4"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["parity", *arguments])


def test_the_shipped_file_says_what_the_reference_says(tmp_path: Path) -> None:
    done = run(*TINY, "--data", "golden", "--most", "12", "--limits", "exact", "--layers", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "parity.json").read_text())
    judged = {one["name"]: one for one in stored["metrics"] if one["verdict"] is not None}
    for name in ("same_tensor.patch.max_relative_difference", "same_file.probability.decision_flips"):
        assert judged[name]["verdict"] == "pass"
    assert stored["layers"]["first_above_its_budget"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"parity.json", "worst.png", "cells.png", "layers.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.glob("*.png"))


def test_a_mode_that_is_too_far_away_fails(tmp_path: Path) -> None:
    # the pictures whose decisions change are among these
    done = run(*TINY, f"--candidate=bundle:{BUNDLE}:dynamic_range", "--data", "golden/in_scope", "--out", str(tmp_path))
    assert done.exit_code == 1, done.output
    stored = json.loads((tmp_path / "parity.json").read_text())
    failed = {one["name"] for one in stored["metrics"] if one["verdict"] == "fail"}
    assert "same_tensor.probability.max_difference" in failed
    assert stored["flips"], "which decisions change is said one by one"
    # what was stored can be judged again under other limits, without running anything
    loose = dict.fromkeys(failed, 0.1)
    assert judge_stored(stored["metrics"]) == "fail"
    assert judge_stored(stored["metrics"], loose) == "pass"


@pytest.mark.parametrize("spec", ["onnx:", "nothing:model.onnx", "model.onnx"])
def test_a_side_is_a_kind_and_a_place(spec: str) -> None:
    with pytest.raises(ParityError, match=r"bundle:PATH\[:WHAT\] is needed"):
        open_side(spec, TensorNames(), RuntimeSettings())


def test_layers_are_held_to_what_the_map_is_held_to() -> None:
    policy = load_contract().policy
    exact, quantised = (_budget(SimpleNamespace(limits=name), policy) for name in ("exact", "contract"))
    assert exact == policy.patch_grid.tolerance_s5
    assert quantised == policy.quantization.max_patch_difference > exact


def test_a_contract_declares_the_files_where_it_says_what_they_are() -> None:
    """An older one, which says nothing of inputs and outputs, does not: they are found by their shapes."""
    older = ROOT / "gates" / "units" / "release" / "fixtures" / "released" / "policy_contract.yaml"
    asked = [_declared(ParityRequest("", "", contract=path)) for path in (None, older, CONTRACT)]
    assert asked == [None, None, load_contract(CONTRACT).policy]


@pytest.mark.parametrize(
    ("file", "kind"),
    [("model.tflite", "tflite"), ("model.onnx", "onnx"), ("variants/full_int8/model.tflite", "tflite")],
)
def test_a_file_of_the_bundle_gets_the_calibration_that_was_fitted_on_it(file: str, kind: RuntimeName) -> None:
    bundle = load_bundle(BUNDLE)
    found = _fitted_on(side_of_content(bundle.read(file), kind, "a side"), bundle)
    assert found is not None
    assert found.origin.endswith(f"of {file}, which is this file")
    assert _fitted_on(side_of_content((FOREIGN / "small_map.tflite").read_bytes(), "tflite", "a side"), bundle) is None


def test_a_file_compared_with_itself_proves_nothing() -> None:
    itself = [PAIR[0], PAIR[0].replace("--reference", "--candidate")]
    done = run(*itself, "--data", "golden", "--most", "1", "--whole-picture", "--limits", "exact")
    assert "reference and candidate are the same bytes" in done.output


def test_a_pair_made_by_other_tools(tmp_path: Path) -> None:
    done = run(*PAIR, *FEW, "--whole-picture", "--limits", "exact", "--layers", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "probability and decisions: no calibration" in done.output
    assert "the same bytes" not in done.output
    stored = json.loads((tmp_path / "parity.json").read_text())
    assert stored["candidate"]["input"]["height"] == 96
    assert stored["candidate"]["input"]["width"] == 128
    layers = stored["layers"]["layers"]
    assert len(layers) == 5, "every convolution of the small network has its partner"
    assert {one["matched"] for one in layers} == {"order and shape"}


def test_other_calibrations_decide() -> None:
    done = run(*PAIR, *FEW, "--whole-picture", "--temperature", "1.5", "--t-real", "0.2", "--t-fake", "0.8")
    assert done.exit_code == 0, done.output
    assert "decision_flips" in done.output


def _broken(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Options that cannot be used, and what must be said of them."""
    content = (BUNDLE / "model.tflite").read_bytes()
    files = {"empty": b"", "half": content[: len(content) // 2], "noise": b"no model at all" * 50}
    paths = {name: folder / f"{name}.tflite" for name in files}
    for name, path in paths.items():
        path.write_bytes(files[name])
    (folder / "none").mkdir()
    text = folder / "text"
    text.mkdir()
    (text / "a.jpg").write_bytes(b"no picture")
    shipped = f"tflite:{BUNDLE / 'model.tflite'}"
    return {
        "no_file": (["--candidate", "tflite:nowhere.tflite"], "nowhere.tflite"),
        "empty_file": (["--candidate", f"tflite:{paths['empty']}"], "empty.tflite"),
        "half_a_file": (["--candidate", f"tflite:{paths['half']}"], "half.tflite"),
        "noise": (["--candidate", f"tflite:{paths['noise']}"], "noise.tflite"),
        "another_kind": (["--candidate", f"tflite:{BUNDLE / 'model.onnx'}"], "a TFLite file"),
        "a_folder": (["--candidate", f"tflite:{folder}"], "a model file"),
        "no_kind": (["--candidate", "model.tflite"], "onnx:PATH, tflite:PATH"),
        "unknown_mode": (["--candidate", "bundle::int4"], "int4 is no part of this bundle"),
        "another_size": ([PAIR[0], "--candidate", shipped], "height 96 and width 128"),
        "no_pictures": (["--data", str(folder / "none")], "no pictures"),
        "nothing_decodes": (["--data", str(text)], "reaches a model"),
        "no_data": (["--data", str(folder / "nowhere")], "no such file or folder"),
        "temperature_zero": ([*PAIR, "--whole-picture", "--temperature", "0"], "--temperature is 0"),
        "one_threshold": ([*PAIR, "--whole-picture", "--temperature", "1", "--t-real", "0.2"], "belong together"),
        "unordered": (
            [*PAIR, "--whole-picture", "--temperature", "1", "--t-real", "0.8", "--t-fake", "0.2"],
            "t_real 0.8 and t_fake 0.2",
        ),
        "limits": (["--limits", "none"], "quantised or exact"),
        "size": (["--input-size", "12by13"], "--input-size 12by13"),
    }


@pytest.mark.parametrize("case", [
    "no_file", "empty_file", "half_a_file", "noise", "another_kind", "a_folder", "no_kind", "unknown_mode",
    "another_size", "no_pictures", "nothing_decodes", "no_data", "temperature_zero", "one_threshold", "unordered",
    "limits", "size",
])  # fmt: skip
def test_bad_input_is_refused_by_name(tmp_path: Path, case: str) -> None:
    arguments, said = _broken(tmp_path)[case]
    done = run(*([] if "--data" in arguments else FEW), *arguments)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split()), done.output
    assert "Traceback" not in done.output
