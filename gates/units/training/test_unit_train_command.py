"""``ecdd train`` from a manifest to weights, a record and a figure; interrupted, it goes on."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ecdd.bundle import load_bundle
from ecdd.cli import main
from ecdd.golden.golden_sets import load_golden
from ecdd.models.checkpoint import load_weights
from gates.support.training_set import ROOT

SMOKE = ROOT / "configs" / "smoke.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden faces as a manifest of lineage TRAIN, with links to the files."""
    folder = tmp_path_factory.mktemp("golden_as_data")
    golden = load_golden()
    manifest, split = [], []
    for item in golden.items:
        if item.set != "in_scope":
            continue
        path = golden.root / item.path
        (folder / path.name).symlink_to(path)
        label = int(item.expected.label == "fake")
        source = item.generator if label else "portraits"
        manifest.append({"path": path.name, "label": label, "scope": "face", "source": source})
        common = {"identity": "unknown", "label": label, "scope": "face", "source": source}
        split.append({"sha256": item.sha256, "lineage": "TRAIN", "near_duplicate_group": item.sha256, **common})
    for name, rows in (("manifest.csv", manifest), ("split.csv", sorted(split, key=lambda row: str(row["sha256"])))):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    # harmonised, most golden faces are softer than the contract allows; a training of seconds may learn from them
    load_bundle("tiny").contract.with_values(
        {"quality_gates.blur_threshold": 5.0, "quality_gates.min_face_side": 40}
    ).dump(folder / "contract.yaml")
    return folder


def command(data: Path, out: Path, config: Path) -> list[str]:
    start = [sys.executable, "-m", "ecdd", "train", "student", "--data", str(data / "manifest.csv"), "--out", str(out)]
    shared = ["--cache", str(data / "tensors"), "--contract", str(data / "contract.yaml")]
    return [*start, "--config", str(config), "--split", str(data / "split.csv"), *shared]


def longer(folder: Path, epochs: int) -> Path:
    settings = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    settings["optimise"] |= {"epochs": epochs, "patience": epochs}
    path = folder / "longer.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_a_smoke_training_gives_weights_a_record_and_a_figure(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*command(data, out, SMOKE), "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "shipped, held-out pictures, size_matched: AUC" in done.stderr
    told = json.loads(done.stdout)
    record = json.loads((out / "training_record.json").read_text(encoding="utf-8"))
    assert told["trainings"][-1]["measured"] == record["shipped"]["measured"]
    model, identity = load_weights(out / "weights.safetensors")
    assert identity.architecture == record["architecture"]["name"] == "tiny_ladeda"
    assert sum(parameter.numel() for parameter in model.parameters()) == record["parameters"] == 1297
    assert set(record["shipped"]["training"]["fake_pictures"]) & {"ours: self_blended", "ours: upsampling"}
    assert not any("ours" in name for name in record["shipped"]["validation"]["fake_pictures"])
    assert (out / "shipped" / "curves.png").read_bytes().startswith(b"\x89PNG")
    again = subprocess.run(
        command(data, out, longer(tmp_path, 9)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert "the folder holds a training with other settings" in again.stderr


def test_a_terminated_training_says_so_and_goes_on_to_the_same_end(data: Path, tmp_path: Path) -> None:
    config = longer(tmp_path, 6)
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    state = broken / "shipped" / "state.pt"
    with subprocess.Popen(command(data, broken, config), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not state.is_file() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors
    assert "interrupted; what is finished is kept in" in errors
    assert "Traceback" not in errors
    for out in (broken, whole):
        subprocess.run(command(data, out, config), cwd=ROOT, check=True, capture_output=True, timeout=300)
    weights = [(out / "weights.safetensors").read_bytes() for out in (broken, whole)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"name": "ladeda9", "width": 0.125}}, "this command trains tiny_ladeda"),
        ({"distil": {"loss": "mse", "weight": 1.0, "first_stage_epochs": 1}}, "name its training with --teacher"),
        ({"forgeries": {"generators": ["nobody"], "share": 0.5}}, "nobody"),
    ],
)
def test_settings_that_cannot_be_are_named_without_a_traceback(
    change: dict[str, object],
    message: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = yaml.safe_load(SMOKE.read_text(encoding="utf-8")) | change
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["ecdd", *command(data, tmp_path / "run", path)[3:]])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert message in said
    assert "Traceback" not in said


def test_bad_rows_and_pictures_are_all_named_before_training_or_skipped_and_recorded(
    data: Path, tmp_path: Path
) -> None:
    """A corrupt picture and a row without a file: refused with both named, or left out and recorded."""
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    manifest, split = folder / "manifest.csv", folder / "split.csv"
    victim = folder / manifest.read_text(encoding="utf-8").splitlines()[1].split(",")[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    old, new = (hashlib.sha256(stored).hexdigest() for stored in (content, victim.read_bytes()))
    split.write_text(split.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    run = command(folder, tmp_path / "run", SMOKE)
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert f"{victim.name}: IO-" in done.stderr
    assert "--skip-bad" in done.stderr
    assert not (tmp_path / "run" / "shipped").exists()
    with manifest.open("a", encoding="utf-8") as stream:
        stream.write("gone.jpg,0,face,portraits\nshort,1\n")
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "gone.jpg: no such file" in done.stderr
    done = subprocess.run([*run, "--skip-bad"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 bad rows and pictures were left out" in done.stdout
    assert "shortcut audit of" in done.stdout
    record = json.loads((tmp_path / "run" / "training_record.json").read_text(encoding="utf-8"))
    assert [len(record["skipped"][kind]) for kind in ("manifest", "unreadable")] == [2, 1]
    assert record["shortcut_audit"]["pictures"]["real"] > 0
