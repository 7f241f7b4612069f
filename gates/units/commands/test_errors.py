"""Every command and every fault of what it is given: one message that names it, exit code 2, and no traceback."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ecdd
from ecdd import cli
from ecdd.bundle import default_bundle_path, load_bundle
from ecdd.errors import printable
from ecdd.golden.golden_sets import load_golden
from ecdd.monitoring.logger import EventLog
from gates.support.field_log import DAY, event

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = ROOT / "contracts" / "policy_contract.yaml"
BUNDLE = default_bundle_path()
ESCAPE = "\x1b[31m"

# a call of every command that is right but for the fault that a test puts into it; {…} are files of `given`
CALLS = {
    "predict": "{picture}",
    "trace": "{picture}",
    "contract check": "{contract}",
    "contract show": "{contract}",
    "contract diff": "{contract} {contract}",
    "contract schema": "",
    "contract upgrade": "{contract} --out {new}",
    "bundle verify": "{released}",
    "bundle diff": "{bundle} {bundle}",
    "bundle build": "--tflite {tflite} --onnx {onnx} --contract {contract} --scores {scores} --out {new}",
    "bundle show": "{bundle}",
    "govern scan": "--data {manifest}",
    "govern check": "--data {manifest} --split {split} --reviews {store} --key {key}",
    "govern tag": "{picture} --split {split} --to AUDIT --who me --reason test",
    "govern split": "--data {manifest} --out {new}",
    "govern merge": "--data {manifest} --out {new}",
    "govern review make-key": "{new}",
    "govern review add": "{picture} --store {store} --key {key} --consent text",
    "govern review next": "--store {store} --key {key} --out {new}",
    "govern review label": "{id} --store {store} --key {key} --is real --reviewer me",
    "govern review export": "--store {store} --key {key} --out {new}",
    "govern review opt-out": "{id} --store {store}",
    "govern review purge": "--store {store}",
    "govern review status": "--store {store} --key {key}",
    "govern review rekey": "--store {store} --key {key} --new-key {key}",
    "govern review protocol": "",
    "train teacher": "--data {manifest} --split {split} --out {new}",
    "train student": "--data {manifest} --split {split} --config {config} --out {new}",
    "train lite": "--data {manifest} --split {split} --init {weights} --out {new}",
    "models import": "{weights} --arch tiny_ladeda --operator NPR --out {new}",
    "models store": "{weights} --out {new}",
    "forgeries sheet": "--generator self_blended --data {manifest} --split {split} --out {new}",
    "calibrate": "--out {new}",
    "export": "--checkpoint {weights} --out {new}",
    "parity": "--data {picture}",
    "score": "{manifest} --out {new}",
    "release": "--dry-run",
    "mutants": "",
    "gates": "",
    "init": "{new}",
    "report": "{run}",
    "judge": "{run}",
    "serve": "",
    "monitor canary": "--candidate {bundle} --data {manifest}",
    "monitor report": "{log}",
    "monitor purge": "{log}",
    "monitor reference": "{log} --out {new}",
    "monitor check": "{log} --reference {reference}",
}
# where one parameter needs another call
CALLS_OF = {
    ("bundle build", "source"): "--mode float32 --out {new}",
    ("bundle build", "data"): "--tflite {tflite} --onnx {onnx} --contract {contract} --out {new}",
    ("bundle build", "--mode"): "--out {new}",
    ("calibrate", "data"): "--split {split} --out {new}",
    ("calibrate", "split"): "--data {manifest} --out {new}",
    ("govern review label", "history"): "{id} --store {store} --key {key} --is real --reviewer me --reason blur",
    ("monitor reference", "scores"): "--out {new}",
    ("serve", "review_key"): "--review {store}",
}


# paths that a command makes; all others are read
WRITTEN = {"out", "heatmap", "keep", "cache", "make_keys", "govern review make-key path", "init folder"}
# paths and addresses that are declared as text
AS_TEXT = {"url", "log", "monitor check reference", "parity reference", "parity candidate", "parity data"}
BUNDLES = {"bundle", "source", "old", "new", "current", "candidate", "bundle verify path", "bundle show path"}
UNKNOWN_VALUES = {
    "predict": ["--device-class"],
    "bundle build": ["--mode"],
    "govern scan": ["--engine"],
    "govern tag": ["--to"],
    "govern review add": ["--known-label"],
    "govern review label": ["--is", "--reason"],
    "models import": ["--arch", "--operator"],
    "models store": ["--storage"],
    "forgeries sheet": ["--generator"],
    "calibrate": ["--method"],
    "export": ["--mode", "--float-layer"],
    "parity": ["--limits", "--input-size"],
    "score": ["--engine", "--lineage"],
    "serve": ["--device-class", "--port"],
    "monitor purge": ["--as-of"],
}
# what is no fault: (command, parameter, fault or *) and the exit code
ALLOWED = {
    ("predict", "paths", "*"): 0,  # a bad picture is a line with its reason
    ("trace", "path", "*"): 0,
    ("predict", "log", "missing"): 0,  # a new log is begun
    ("govern review add", "store", "missing"): 0,  # a new store is begun
    ("govern review label", "history", "missing"): 0,  # a new history is begun
    ("monitor canary", "candidate", "*"): 1,  # a candidate that cannot be loaded is rolled back
    ("release", "records", "*"): 1,  # no evidence is a reason against a release
    ("report", "golden", "damaged"): 0,  # no thumbnails
    ("report", "golden", "folder"): 0,
    # an empty folder is an empty store
    ("govern review add", "store", "folder"): 0,
    ("govern review opt-out", "store", "folder"): 0,
    ("govern review purge", "store", "folder"): 0,
    ("govern review status", "store", "folder"): 0,
    ("govern review rekey", "store", "folder"): 0,
    ("govern review export", "store", "folder"): 0,
    ("govern review next", "store", "folder"): 0,
}
# not tested: read or written only after work of many seconds
NOT_REACHED = {
    ("bundle build", "out"),
    ("calibrate", "cache"),
    ("calibrate", "config"),
    ("calibrate", "training"),
    ("export", "data"),
    ("export", "out"),
    ("export", "split"),
    ("gates", "data"),  # by its clauses
    ("monitor report", "out"),
    ("parity", "out"),
    ("release", "key"),
    ("report", "golden"),
    ("serve", "log"),  # where it is new the site starts
    ("serve", "review"),
    ("train student", "init"),
    ("train student", "out"),
    ("train student", "teacher"),
    ("train student", "cache"),
    ("train lite", "init"),
    ("train lite", "out"),
    ("train lite", "cache"),
    ("train teacher", "init"),
    ("train teacher", "out"),
    ("train teacher", "cache"),
}
# the message says what is wrong without the path: a review store names no place of its pictures, and a picture that
# `parity` cannot use is counted by its reason
UNNAMED = {"govern review add", "govern review make-key", "govern review label", "parity data"}


@dataclass(frozen=True)
class Fault:
    """A wrong value of one parameter."""

    parameter: str
    kind: str
    value: str
    position: int | None
    option: str


def _commands() -> Iterator[tuple[str, Any]]:
    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield name, command
            return
        for part, inner in command.commands.items():
            yield from walk(f"{name} {part}", inner)

    for name in cli.COMMANDS:
        yield from walk(name, cli.load_command(name))


COMMANDS = dict(_commands())


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files that are right, by the names in `CALLS`, and files that are wrong."""
    folder = tmp_path_factory.mktemp("given")
    golden = load_golden()
    faces = [item for item in golden.items if item.set == "in_scope"][:4]
    listed, tagged = [], []
    for item in faces:
        label = int(item.expected.label == "fake")
        listed.append([str(golden.root / item.path), label, "face", "golden", item.sha256])
        tagged.append([item.sha256, "TRAIN", item.sha256, "unknown", label, "face", "golden"])
    header = ["sha256", "lineage", "near_duplicate_group", "identity", "label", "scope", "source"]
    log, digest = folder / "log.db", load_bundle(BUNDLE).payload_digest
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
        "key": folder / "key",
        "store": folder / "store",
        "log": log,
        "reference": folder / "reference.json",
        "released": ROOT / "gates" / "units" / "release" / "fixtures" / "released",
        "new": folder / "new",
        "missing": folder / "missing",
        "damaged": folder / "damaged",
        "folder": folder / "folder",
        "wrong contract": folder / "wrong_contract.yaml",
        "wrong bundle": wrong,
    }
    files["damaged"].write_bytes(b"\x00\xff\xfe{[\x1b[31m" * 100)
    files["folder"].mkdir()
    text = CONTRACT.read_text(encoding="utf-8").replace("t_fake:", '"t_fake\\e[31m":')
    files["wrong contract"].write_text(text, encoding="utf-8")
    made = {name: str(path) for name, path in files.items()}
    assert _call("govern review make-key", [made["key"]]).exit_code == 0
    assert _call("monitor reference", [made["log"], "--out", made["reference"]]).exit_code == 0
    words = CALLS["govern review add"].format(**made).split()
    # the second one still waits for review when the first one has its label
    added, more = (_call("govern review add", [str(golden.root / one.path), *words[1:]]) for one in faces[:2])
    assert (added.exit_code, more.exit_code) == (0, 0), added.stderr + more.stderr
    return made | {"id": added.stdout.strip()}


def _call(name: str, arguments: list[str]) -> Any:
    return CliRunner().invoke(cli.app, [*name.split(), *arguments])


def _faults(name: str, given: dict[str, str]) -> Iterator[Fault]:
    arguments = [one for one in COMMANDS[name].params if one.param_type_name == "argument"]
    for one in COMMANDS[name].params:
        own = {one.name, f"{name} {one.name}"}
        if ("Path" not in str(one.type_descriptor.annotation) and not own & AS_TEXT) or (name, one.name) in NOT_REACHED:
            continue
        kinds = ["missing", "damaged", "folder"]
        if one.name == "contract" or name.startswith("contract "):
            kinds.append("wrong contract")
        if own & BUNDLES and name != "contract diff":
            kinds.append("wrong bundle")
        if own & WRITTEN:
            kinds = ["inside a file"]
        for kind in kinds:
            value = f"{given['damaged']}/new" if kind == "inside a file" else given[kind]
            value += f"_{name.replace(' ', '_')}_{one.name}" if kind == "missing" else ""
            yield Fault(one.name, kind, value, arguments.index(one) if one in arguments else None, one.opts[-1])


def _problems(name: str, fault: Fault, given: dict[str, str], number: int) -> list[str]:
    """Call a command with one fault, and say what is not as it must be in the answer."""
    given = given | {"new": f"{given['new']}_{number}"}
    words = [word.format(**given) for word in CALLS_OF.get((name, fault.parameter), CALLS[name]).split()]
    if fault.position is not None:
        words[fault.position : fault.position + (fault.position < len(words) and words[fault.position][0] != "-")] = [
            fault.value
        ]
    elif fault.option in words:
        words[words.index(fault.option) + 1] = fault.value
    else:
        words += [fault.option, fault.value]
    codes = [ALLOWED.get((name, fault.parameter, kind)) for kind in (fault.kind, "*")]
    expected = next((code for code in codes if code is not None), 2)
    named = "damaged" if fault.kind == "inside a file" else Path(fault.value).name
    if UNNAMED & {name, f"{name} {fault.parameter}"}:
        named = ""
    return [f"{fault.parameter}, {fault.kind}: {text}" for text in _wrong(_call(name, words), expected, named)]


def _wrong(result: Any, expected: int, named: str) -> list[str]:
    """What is not as it must be in the answer to a call."""
    said = result.stderr
    found = [] if result.exit_code == expected else [f"exit code {result.exit_code}"]
    if "Traceback" in result.output or "SY-001" in said or not isinstance(result.exception, SystemExit | None):
        found.append(f"crashed: {said[-300:]}")
    if ESCAPE in result.output:
        found.append("a terminal escape of the file reaches the terminal")
    ours = re.search("^ecdd: ", said, re.MULTILINE)
    if expected == 2 and not ours and not said.startswith("Usage: "):
        found.append(f"no message: {said[:100]!r}")
    if expected == 2 and ours and named not in said:
        found.append(f"does not name {named}: {said[:200]!r}")
    return found


def test_the_table_has_every_command() -> None:
    assert set(COMMANDS) == set(CALLS)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"mutants"}))  # it hands its options to a process of its own
def test_a_wrong_file_is_one_message_and_exit_code_2(
    name: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    problems = []
    for number, fault in enumerate(_faults(name, given)):
        problems += _problems(name, fault, given, number)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", list(UNKNOWN_VALUES))
def test_an_unknown_value_is_one_message_and_exit_code_2(name: str, given: dict[str, str]) -> None:
    problems = []
    for option in UNKNOWN_VALUES[name]:
        problems += _problems(name, Fault(option, "unknown", "(nonsense", None, option), given, 0)
    assert not problems, "\n".join(problems)


def test_a_defect_of_the_program_is_one_line_with_what_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: object) -> None:
        raise ZeroDivisionError(f"{ESCAPE}\nno such luck")

    monkeypatch.setattr("ecdd.contract.loading.load_contract", fail)
    said = _call("contract check", [])
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.startswith("ecdd: SY-001: ZeroDivisionError: \\x1b[31m no such luck; this is a defect")
    assert said.stderr.count("\n") == 1
    shown = CliRunner().invoke(cli.app, ["--traceback", "contract", "check"])
    assert "Traceback" in shown.stderr
    assert shown.exit_code == 2


def test_printable() -> None:
    assert printable("a\x1b[0m\r\n\ud800é") == "a\\x1b[0m\\r\\n\\ud800é"


def test_every_exception_of_the_package_has_one_base() -> None:
    """But for two outcomes of a measurement, which only the plugin of the gates sees, and one private to a module."""
    others = set()
    for path in sorted(Path(ecdd.__file__).parent.rglob("*.py")):
        for name, bases in re.findall(r"^ *class (\w+)\((.*)\):", path.read_text(encoding="utf-8"), re.MULTILINE):
            if re.search(r"(Error|Exception)\b", bases) and not re.search(r"\b(EcddError|ListedError)\b", bases):
                others.add(name)
    assert others == {"EcddError", "EvidenceFailed", "Unmeasured", "_TooDeepError"}
