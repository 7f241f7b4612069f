"""``ecdd train`` from a manifest to weights, a record and a figure; interrupted, it goes on."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ecdd.bundle import load_bundle
from ecdd.calibration.metrics import bootstrap_interval
from ecdd.cli import main
from ecdd.golden.golden_sets import load_golden
from ecdd.models.checkpoint import load_weights
from gates.support.command_calls import call
from gates.support.training_set import ROOT

SMOKE = ROOT / "configs" / "smoke.yaml"


@pytest.fixture(scope="module", autouse=True)
def process_as_it_was() -> Iterator[None]:
    """A training in this process sets threads of torch, its determinism and what SIGTERM does."""
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    signal.signal(signal.SIGTERM, handler)


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


def options(data: Path, out: Path, config: Path) -> list[str]:
    start = ["--data", str(data / "manifest.csv"), "--out", str(out)]
    shared = ["--cache", str(data / "tensors"), "--contract", str(data / "contract.yaml")]
    return [*start, "--config", str(config), "--split", str(data / "split.csv"), *shared]


def changed(folder: Path, change: dict[str, Any]) -> Path:
    """The settings of the smoke training with other sections."""
    settings = yaml.safe_load(SMOKE.read_text(encoding="utf-8")) | change
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A whole smoke training, and what the command said."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, call("train student", [*options(data, out, SMOKE), "--json"])


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide intervals in a tenth of the time; they are measured with all resamples in `trained`."""
    for name in ("shortcut_audit", "shortcut_baseline"):
        few = functools.partial(bootstrap_interval, resamples=20)
        monkeypatch.setattr(f"ecdd.training.{name}.bootstrap_interval", few)


@pytest.fixture
def no_audit(few_resamples: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shortcut audit, which takes longer than the training and comes before it."""
    monkeypatch.setattr("ecdd.training.run.shortcut_audit", lambda *_: {})


def test_a_smoke_training_gives_weights_a_record_and_a_figure(
    data: Path, trained: tuple[Path, Any], tmp_path: Path, no_audit: None
) -> None:
    out, done = trained
    assert done.exit_code == 0, done.stderr
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
    longer = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))["optimise"] | {"epochs": 9, "patience": 9}
    again = call("train student", options(data, out, changed(tmp_path, {"optimise": longer})))
    assert again.exit_code == 2
    assert "the folder holds a training with other settings" in again.stderr


def test_a_terminated_training_says_so_and_goes_on_to_the_same_end(
    data: Path, trained: tuple[Path, Any], tmp_path: Path, no_audit: None
) -> None:
    """A process of its own, which a signal ends; it goes on in this one, to what was trained without a break."""
    broken, whole = tmp_path / "broken", trained[0]
    log = broken / "shipped" / "log.csv"  # written behind the state of an epoch
    words = [sys.executable, "-m", "ecdd", "train", "student", *options(data, broken, SMOKE)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not log.is_file() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors
    assert "interrupted; what is finished is kept in" in errors
    assert "Traceback" not in errors
    before = log.read_text(encoding="utf-8")
    done = call("train student", options(data, broken, SMOKE))
    assert done.exit_code == 0, done.stderr
    assert log.read_text(encoding="utf-8").startswith(before)  # seconds too: finished epochs were not trained again
    weights = [(out / "weights.safetensors").read_bytes() for out in (broken, whole)]
    assert weights[0] == weights[1]
    # the best epoch may be the one before the break; the last one's weights have gone through it
    ends = [torch.load(out / "shipped" / "state.pt", weights_only=True) for out in (broken, whole)]
    assert all(torch.equal(value, ends[1]["model"][name]) for name, value in ends[0]["model"].items())
    assert [epoch["loss"] for epoch in ends[0]["history"]] == [epoch["loss"] for epoch in ends[1]["history"]]


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
    words = options(data, tmp_path / "run", changed(tmp_path, change))
    monkeypatch.setattr("sys.argv", ["ecdd", "train", "student", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert message in said
    assert "Traceback" not in said


def test_bad_rows_and_pictures_are_all_named_before_training_or_skipped_and_recorded(
    data: Path, tmp_path: Path, few_resamples: None
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
    run = options(folder, tmp_path / "run", SMOKE)
    done = call("train student", run)
    assert done.exit_code == 2
    assert f"{victim.name}: IO-" in done.stderr
    assert "--skip-bad" in done.stderr
    assert not (tmp_path / "run" / "shipped").exists()
    with manifest.open("a", encoding="utf-8") as stream:
        stream.write("gone.jpg,0,face,portraits\nshort,1\n")
    done = call("train student", run)
    assert done.exit_code == 2
    assert "gone.jpg: no such file" in done.stderr
    done = call("train student", [*run, "--skip-bad"])
    assert done.exit_code == 0, done.stderr
    assert "3 bad rows and pictures were left out" in done.stdout
    assert "shortcut audit of" in done.stdout
    record = json.loads((tmp_path / "run" / "training_record.json").read_text(encoding="utf-8"))
    assert [len(record["skipped"][kind]) for kind in ("manifest", "unreadable")] == [2, 1]
    assert record["shortcut_audit"]["pictures"]["real"] > 0
