"""Every command and every fault of what it is given: one message that names it, exit code 2, and no traceback."""

from __future__ import annotations

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
from ecdd.errors import printable
from gates.own_model.trials import try_each_file_once
from gates.support.command_calls import CALLS, ROOT, call, every_command, write_files

ESCAPE = "\x1b[31m"

# where one parameter needs another call
CALLS_OF = {
    ("bundle build", "source"): "--mode float32 --out {new}",
    ("bundle build", "data"): "--tflite {tflite} --onnx {onnx} --contract {contract} --out {new}",
    ("bundle build", "--mode"): "--out {new}",
    ("calibrate", "data"): "--bundle {bundle} --split {split} --out {new}",
    ("calibrate", "split"): "--bundle {bundle} --data {manifest} --out {new}",
    ("govern review label", "history"): "{id} --store {store} --review-key {key} --is real --reviewer me --reason blur",
    ("monitor reference", "scores"): "--out {new}",
    ("serve", "review_key"): "--review {store}",
}


# paths that a command makes; all others are read
WRITTEN = {"out", "html", "heatmap", "keep", "cache", "make_keys", "govern review make-key path", "init folder"}
# paths and addresses that are declared as text
AS_TEXT = {"url", "log", "monitor check reference", "parity reference", "parity candidate", "parity data"}
BUNDLES = {"bundle", "named", "source", "old", "new", "current", "candidate", "bundle verify path", "bundle show path"}
UNKNOWN_VALUES = {
    "predict": ["--device-class"],
    "bundle build": ["--mode"],
    "contract init": ["--kind", "--channels", "--scaling", "--method", "--output", "--map", "--pooling", "--geometry"],
    "onboard": ["--kind", "--channels", "--scaling"],
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
    "device dump": ["--platform", "--kind", "--picture", "--about"],
    "score": ["--engine", "--lineage"],
    "serve": ["--device-class", "--port"],
    "monitor purge": ["--as-of"],
}
# what is no fault: (command, parameter, fault or *) and the exit code
ALLOWED = {
    ("predict", "paths", "damaged"): 0,  # a bad picture is a line with its reason
    ("predict", "paths", "deep"): 0,
    ("trace", "path", "damaged"): 0,
    ("trace", "path", "deep"): 0,
    ("predict", "log", "missing"): 0,  # a new log is begun
    ("govern review add", "store", "missing"): 0,  # a new store is begun
    ("govern review label", "history", "missing"): 0,  # a new history is begun
    ("monitor canary", "candidate", "*"): 1,  # a candidate that cannot be loaded is rolled back
    ("release", "records", "*"): 1,  # no evidence is a reason against a release
    ("report", "golden", "damaged"): 0,  # no thumbnails
    ("report", "golden", "folder"): 0,
    ("govern review add", "store", "folder"): 0,  # a new store is begun
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
    ("web build", "cache"),  # npm would be asked first
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


COMMANDS = every_command()


@pytest.fixture(autouse=True)
def each_file_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    try_each_file_once(monkeypatch)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("given"))


def _faults(name: str, given: dict[str, str]) -> Iterator[Fault]:
    arguments = [one for one in COMMANDS[name].params if one.param_type_name == "argument"]
    for one in COMMANDS[name].params:
        own = {one.name, f"{name} {one.name}"}
        if ("Path" not in str(one.type_descriptor.annotation) and not own & AS_TEXT) or (name, one.name) in NOT_REACHED:
            continue
        kinds = ["missing", "damaged", "deep", "folder"]
        if one.name == "contract" or name.startswith("contract "):
            kinds.append("wrong contract")
        if own & BUNDLES and name != "contract diff":
            kinds.append("wrong bundle")
        if own & WRITTEN:
            kinds = ["inside a file"]
        for kind in kinds:
            value = f"{given['damaged']}/new" if kind == "inside a file" else given[kind]
            if kind in ("missing", "folder"):  # of its own: what one command makes there is no other's fault
                value += f"_{name.replace(' ', '_')}_{one.name}"
            if kind == "folder":
                Path(value).mkdir(exist_ok=True)
            yield Fault(one.name, kind, value, arguments.index(one) if one in arguments else None, one.opts[-1])


def _problems(name: str, fault: Fault, given: dict[str, str], number: int) -> list[str]:
    """Call a command with one fault, and say what is not as it must be in the answer."""
    given = given | {"new": f"{given['new']}_{name.replace(' ', '_')}_{number}"}
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
    return [f"{fault.parameter}, {fault.kind}: {text}" for text in _wrong(call(name, words), expected, named)]


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


@pytest.mark.parametrize(("name", "content"), [("index.json", b"[" * 5000), ("evidence.jsonl", b"\xff\xfe{}\n")])
def test_a_run_with_a_damaged_file_is_one_message(tmp_path: Path, name: str, content: bytes) -> None:
    """Nested too deeply, and no UTF-8: a line for what is wrong, one for the file. So with the waivers of a release."""
    run = shutil.copytree(ROOT / "reports" / "default", tmp_path / "run")
    (run / name).write_bytes(content)
    waivers = tmp_path / "waivers.yaml"
    waivers.write_bytes(content)
    calls = {"judge": ([str(run)], 2), "release": (["--dry-run", "--waivers", str(waivers)], 1)}
    for command, (words, lines) in calls.items():
        said = call(command, words)
        assert _wrong(said, 2, "") == [], command
        assert said.stderr.count("\n") == lines, said.stderr
    assert name in call("judge", [str(run)]).stderr


def test_a_defect_of_the_program_is_one_line_with_what_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: object) -> None:
        raise ZeroDivisionError(f"{ESCAPE}\nno such luck")

    monkeypatch.setattr("ecdd.contract.loading.load_contract", fail)
    said = call("contract check", [])
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
