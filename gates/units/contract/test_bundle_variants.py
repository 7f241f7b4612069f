"""A bundle's modes: each with its own model and calibration; another one shipped is another bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecdd.bundle import BundleError, load_bundle
from ecdd.bundle.manifest import CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, FileList
from ecdd.bundle.payload import entries_digest, payload_entries
from ecdd.bundle.variants import GOLDEN_OUTPUTS, calibration_of, modes, place, ship
from ecdd.cli import app
from ecdd.contract.contract_error import ContractError
from ecdd.contract.loading import DEFAULT_CONTRACT
from ecdd.contract.value_lines import set_contract_values
from ecdd.detector import Detector
from ecdd.golden.golden_sets import load_golden

BUNDLE = load_bundle("tiny")
SHIPPED, *OTHERS = modes(BUNDLE)


def _listed(folder: Path) -> None:
    """Digests that fit what lies there, written by hand: the writer would refuse."""
    entries = payload_entries(folder)
    listed = FileList(files=entries, payload_digest=entries_digest(entries))
    (folder / MANIFEST_FILE).write_bytes(listed.text())


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLE.path, tmp_path / "copied"))


def test_the_default_bundle_carries_three_modes() -> None:
    assert {SHIPPED, *OTHERS} == {"float32", "dynamic_range", "full_int8"}
    models = {mode: BUNDLE.manifest.files[place(BUNDLE, mode, MODEL_FILE)].sha256 for mode in modes(BUNDLE)}
    assert len(set(models.values())) == 3
    assert {mode: calibration_of(BUNDLE, mode).fitted_on_model_sha256 for mode in modes(BUNDLE)} == models


def test_a_mode_that_is_not_there_is_named() -> None:
    with pytest.raises(BundleError, match="no variant 'int16x8'; this bundle holds float32, dynamic_range, full_int8"):
        place(BUNDLE, "int16x8", MODEL_FILE)


@pytest.mark.parametrize("mode", OTHERS)
def test_shipping_another_mode_and_back(tmp_path: Path, mode: str) -> None:
    other = ship(BUNDLE, mode, tmp_path / "other")
    assert other.manifest.model.mode == mode == other.contract.policy.quantization.mode
    assert other.payload_digest != BUNDLE.payload_digest
    assert set(modes(other)) == set(modes(BUNDLE))
    assert other.read(MODEL_FILE) == BUNDLE.read(place(BUNDLE, mode, MODEL_FILE))
    point, record = other.contract.policy.operating_point, calibration_of(BUNDLE, mode)
    assert (point.t_real, point.t_fake) == (record.thresholds.t_real, record.thresholds.t_fake)
    assert not any(name.startswith(GOLDEN_OUTPUTS) for name in other.manifest.files), (
        "they are of the other calibration"
    )
    back = ship(other, SHIPPED, tmp_path / "back")
    mine = {name: entry for name, entry in BUNDLE.manifest.files.items() if not name.startswith(GOLDEN_OUTPUTS)}
    assert back.manifest.files == mine


@pytest.mark.parametrize("mode", OTHERS)
def test_another_mode_judges_pictures(tmp_path: Path, mode: str) -> None:
    detector = Detector.load(ship(BUNDLE, mode, tmp_path / "other"))
    golden = load_golden()
    verdict = detector.predict(golden.file(next(item for item in golden.items if item.id == "real_coelho")))
    assert verdict.probability is not None
    assert 0 < verdict.probability < 1


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(BundleError, match="already there; a bundle is never changed in place"):
        ship(BUNDLE, OTHERS[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_variant_without_its_model_is_refused(copied: Path) -> None:
    (copied / place(BUNDLE, OTHERS[0], MODEL_FILE)).unlink()
    _listed(copied)
    with pytest.raises(BundleError, match=rf"a variant needs its model(.|\n)*{OTHERS[0]}/{MODEL_FILE}"):
        load_bundle(copied)


def test_the_shipped_mode_once_more_is_refused(copied: Path) -> None:
    shutil.copytree(copied / "variants" / OTHERS[0], copied / "variants" / SHIPPED)
    _listed(copied)
    with pytest.raises(BundleError, match="the shipped mode once more"):
        load_bundle(copied)


def test_a_changed_byte_of_a_variant_is_noticed(copied: Path) -> None:
    path = copied / place(BUNDLE, OTHERS[0], MODEL_FILE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        load_bundle(copied)
    assert place(BUNDLE, OTHERS[0], MODEL_FILE) in str(caught.value)


def test_a_record_that_is_no_json_is_refused_by_name(copied: Path) -> None:
    (copied / place(BUNDLE, OTHERS[0], CALIBRATION_FILE)).write_text("{", encoding="utf-8")
    _listed(copied)
    with pytest.raises(BundleError, match=rf"{OTHERS[0]}/{CALIBRATION_FILE}"):
        load_bundle(copied)


def test_the_command_builds_and_says_what_is_next(tmp_path: Path) -> None:
    run = CliRunner().invoke(
        app, ["bundle", "build", "--mode", "full_int8", "--out", str(tmp_path / "b"), "--release", "9.9.9"]
    )
    assert run.exit_code == 0, run.output
    assert "ships full_int8" in run.output
    assert "ecdd gates --bundle" in run.output
    made = load_bundle(tmp_path / "b")
    assert made.manifest.version == "9.9.9"
    assert json.loads((tmp_path / "b" / "bundle.json").read_text())["model"]["mode"] == "full_int8"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--mode", "int16x8"], "no variant 'int16x8'"), (["--mode", "full_int8", "--bundle", "nowhere"], "nowhere")],
    ids=["unknown_mode", "no_bundle"],
)
def test_the_command_refuses_in_one_message(tmp_path: Path, arguments: list[str], said: str) -> None:
    run = CliRunner().invoke(app, ["bundle", "build", *arguments, "--out", str(tmp_path / "b")])
    assert run.exit_code == 2
    assert said in run.output
    assert "Traceback" not in run.output
    assert not (tmp_path / "b").exists()


def test_contract_values_are_changed_in_place() -> None:
    text = DEFAULT_CONTRACT.read_text(encoding="utf-8")
    changed = set_contract_values(text, {"quantization.mode": "full_int8", "operating_point.t_fake": 0.75}, None)
    differing = [(old, new) for old, new in zip(text.splitlines(), changed.splitlines(), strict=True) if old != new]
    assert len(differing) == 2, "comments, order and everything else stay"
    assert all(old.split("status")[1] == new.split("status")[1] for old, new in differing)
    assert set_contract_values(changed, {"quantization.mode": "float32"}, "proposed").count("status: proposed") == (
        text.count("status: proposed") + 1
    )


def test_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(ContractError, match=r"quantization\.bits"):
        set_contract_values(DEFAULT_CONTRACT.read_text(encoding="utf-8"), {"quantization.bits": 4.0}, None)
