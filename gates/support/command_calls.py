"""A right call of every command, and the files that it needs: what faults and mutations are put into."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner

from ecdd import cli
from ecdd.bundle import bundle_path, load_bundle
from ecdd.dataset_governance.lineage_history import history_path, record_split
from ecdd.dataset_governance.lineage_tags import load_split
from ecdd.golden.golden_sets import load_golden
from ecdd.monitoring.logger import EventLog
from gates.support.field_log import DAY, event
from gates.support.made_reviews import START

ROOT: Final = Path(__file__).resolve().parents[2]
BUNDLE: Final = bundle_path("tiny")
CONTRACT: Final = BUNDLE / "policy_contract.yaml"

# a call of every command that is right but for the fault that a test puts into it; {…} are files of `given`
CALLS: Final = {
    "predict": "{picture}",
    "trace": "{picture}",
    "contract init": "--tflite {tflite} --onnx {onnx} --out {new} --scaling=imagenet --crop-margin 1.3",
    "contract check": "{contract}",
    "contract show": "{contract}",
    "contract diff": "{contract} {contract}",
    "contract schema": "",
    "onboard": "--tflite {tflite} --onnx {onnx} --out {new} --scaling=imagenet --crop-margin 1.3",
    "contract upgrade": "{contract} --out {new}",
    "bundle verify": "{released}",
    "bundle diff": "{bundle} {bundle}",
    "bundle build": "--tflite {tflite} --onnx {onnx} --contract {contract} --scores {scores} --out {new}",
    "bundle show": "{bundle}",
    "govern scan": "--data {manifest}",
    "govern check": "--data {manifest} --split {split} --reviews {store} --review-key {key}",
    "govern tag": "{picture} --split {split} --to AUDIT --who me --reason test",
    "govern split": "--data {manifest} --out {new}",
    "govern merge": "--data {manifest} --out {new}",
    "govern review make-key": "{new}",
    "govern review add": "{picture} --store {store} --review-key {key} --consent text --bundle {bundle}",
    "govern review next": "--store {store} --review-key {key} --out {new}",
    "govern review label": "{id} --store {store} --review-key {key} --is real --reviewer me",
    "govern review export": "--store {store} --review-key {key} --out {new}",
    "govern review opt-out": "{id} --store {store}",
    "govern review purge": "--store {store}",
    "govern review status": "--store {store} --review-key {key}",
    "govern review rekey": "--store {store} --review-key {key} --new-key {key}",
    "govern review protocol": "",
    "train teacher": "--data {manifest} --split {split} --out {new}",
    "train student": "--data {manifest} --split {split} --config {config} --out {new}",
    "train lite": "--data {manifest} --split {split} --init {weights} --out {new}",
    "models import": "{weights} --arch tiny_ladeda --operator NPR --out {new}",
    "models store": "{weights} --out {new}",
    "forgeries sheet": "--generator self_blended --data {manifest} --split {split} --out {new}",
    "calibrate": "--bundle {bundle} --out {new}",
    "export": "--checkpoint {weights} --out {new}",
    "parity": "--data {picture}",
    "device pack": "{bundle} --out {new}",
    "device dump": "--bundle {bundle} --out {new} --platform here --picture real_oath_a",
    "device judge": "{dump} --bundle {bundle}",
    "web build": "--bundle {bundle} --out {new}",
    "score": "--data {manifest} --out {new}",
    "release": "--dry-run",
    "mutants": "",
    "gates": "",
    "init": "{new}",
    "report": "{run}",
    "judge": "{run}",
    "diff": "{run} {run}",
    "serve": "",
    "monitor canary": "--candidate {bundle} --data {manifest}",
    "monitor report": "{log}",
    "monitor purge": "{log}",
    "monitor reference": "{log} --out {new}",
    "monitor check": "{log} --reference {reference}",
}


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return path


def write_files(folder: Path) -> dict[str, str]:
    """Write files that are right, by the names in `CALLS`, and files that are wrong.

    Parameters
    ----------
    folder : Path
        Empty.

    Returns
    -------
    dict of str to str
        Paths; under ``id`` the id of a picture under review.
    """
    golden = load_golden()
    faces = [item for item in golden.items if item.set == "in_scope"][:4]
    listed, tagged = [], []
    for item in faces:
        label = int(item.expected.label == "fake")
        listed.append([str(golden.root / item.path), label, "face", "golden", item.sha256])
        tagged.append([item.sha256, "TRAIN", item.sha256, "unknown", label, "face", "golden"])
    header = ["sha256", "lineage", "near_duplicate_group", "identity", "label", "scope", "source"]
    log, digest = folder / "log.db", load_bundle().payload_digest
    with EventLog(str(log), create=True) as opened:
        opened.append([event(timestamp_minute=DAY, bundle_digest=digest) for _ in range(600)])
    wrong = Path(shutil.copytree(BUNDLE, folder / "wrong_bundle"))
    (wrong / "model.tflite").write_bytes(b"another model")
    files = {
        "picture": golden.root / faces[0].path,
        "contract": CONTRACT,
        "bundle": BUNDLE,
        "tflite": BUNDLE / "model.tflite",
        "onnx": BUNDLE / "model.onnx",
        "weights": BUNDLE / "weights.safetensors",
        "scores": BUNDLE / "calibration_scores.csv",
        "manifest": _write_csv(folder / "manifest.csv", ["path", "label", "scope", "source", "sha256"], listed),
        "split": _write_csv(folder / "split.csv", header, sorted(tagged)),
        "config": ROOT / "configs" / "smoke.yaml",
        "run": ROOT / "reports" / "default",
        "dump": folder / "dump.npz",
        "key": folder / "key",
        "store": folder / "store",
        "log": log,
        "reference": folder / "reference.json",
        "released": ROOT / "gates" / "units" / "release" / "fixtures" / "released",
        "new": folder / "new",
        "missing": folder / "missing",
        "damaged": folder / "damaged",
        "deep": folder / "deep",
        "folder": folder / "folder",
        "wrong contract": folder / "wrong_contract.yaml",
        "wrong bundle": wrong,
    }
    files["damaged"].write_bytes(b"\x00\xff\xfe{[\x1b[31m" * 100)
    files["deep"].write_text("[" * 5000, encoding="utf-8")
    files["folder"].mkdir()
    record_split(load_split(files["split"]), history_path(files["split"]), "me", START)
    text = CONTRACT.read_text(encoding="utf-8").replace("t_fake:", '"t_fake\\e[31m":')
    files["wrong contract"].write_text(text, encoding="utf-8")
    made = {name: str(path) for name, path in files.items()}
    assert call("govern review make-key", [made["key"]]).exit_code == 0
    assert call("monitor reference", [made["log"], "--out", made["reference"]]).exit_code == 0
    dumped = CALLS["device dump"].format(**made | {"new": made["dump"]}).split()
    assert call("device dump", dumped).exit_code == 0
    words = CALLS["govern review add"].format(**made).split()
    # the second one still waits for review when the first one has its label
    added, more = (call("govern review add", [str(golden.root / one.path), *words[1:]]) for one in faces[:2])
    assert (added.exit_code, more.exit_code) == (0, 0), added.stderr + more.stderr
    return made | {"id": added.stdout.strip()}


def every_command() -> dict[str, Any]:
    """All commands of the program by their names, those in groups too."""
    found: dict[str, Any] = {}

    def walk(name: str, command: Any) -> None:
        if not hasattr(command, "commands"):
            found[name] = command
        for part, inner in getattr(command, "commands", {}).items():
            walk(f"{name} {part}", inner)

    for name in cli.COMMANDS:
        walk(name, cli.load_command(name))
    return found


def call(name: str, arguments: list[str]) -> Any:
    """Call a command in this process; gives what `typer.testing.CliRunner` gives."""
    return CliRunner().invoke(cli.app, [*name.split(), *arguments])
