"""``--json``: every command whose answer a program may read gives one JSON document on standard output, and no more."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from ecdd.commands import mutants, terminal
from gates.mutants.warm_processes import run_command
from gates.own_model.trials import try_each_file_once
from gates.support.command_calls import CALLS, ROOT, call, every_command, write_files

PAIR: Final = ROOT / "gates" / "own_model" / "pairs" / "softmax"
# what no program reads, or reads otherwise
WITHOUT: Final = {
    "serve": "runs until it is stopped; programs ask its API",
    "contract schema": "is a JSON document without an option",
    "govern review protocol": "is a text for people, made from what contract show --json gives",
}
# one JSON line a picture, of as many pictures as there are: no program waits for the last one
LINES: Final = {"predict"}
# not called below with the words of CALLS: the test, or why not
ELSEWHERE: Final = {
    "export": "test_what_takes_long",
    "gates": "test_gates_say_what_they_found_and_who_signed_it",
    "onboard": "test_what_takes_long",
    "mutants": "test_a_table_of_mutants",
    "train student": "gates/units/training/test_unit_train_command.py",
    "train teacher": "the same function as train student",
    "train lite": "a training of many minutes",
    "web build": "gates/units/parity/test_unit_web_page.py",
}
# where the words of CALLS need more, or others
WORDS: Final = {
    "govern review add": "{other} --store {store} --review-key {key} --consent text --bundle {bundle}",
    "govern review label": "{id} --store {store} --review-key {key} --is real --reviewer me --reason blur",
    "release": "--dry-run --records {run}",
    "monitor purge": "{log} --as-of 2020-01-01",
}
COMMANDS: Final = every_command()
QUICK: Final = [name for name in CALLS if name not in {*WITHOUT, *LINES, *ELSEWHERE}]


@pytest.fixture(autouse=True)
def each_file_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    try_each_file_once(monkeypatch)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    files = write_files(tmp_path_factory.mktemp("given"))
    run = shutil.copytree(files["run"], Path(files["new"]).parent / "run")
    # a bundle is a folder, or the name of one that ships, wherever one is asked for
    return files | {"bundle": "tiny", "run": str(run), "other": str(ROOT / "golden" / "in_scope" / "real_oath_f.jpg")}


def alone(text: str) -> Any:
    """The one document of standard output; anything beside it is no JSON."""
    return json.loads(text)


def test_every_command_has_the_option_or_a_reason() -> None:
    """A new command is missing here until it has the option."""
    have = {name for name, command in COMMANDS.items() if any("--json" in one.opts for one in command.params)}
    assert set(COMMANDS) - have == set(WITHOUT)
    said = {name: next(one.help for one in COMMANDS[name].params if "--json" in one.opts) for name in have - LINES}
    assert len(set(said.values())) == 1, "one meaning everywhere"
    assert set(COMMANDS) == set(CALLS)


@pytest.mark.parametrize("name", QUICK)
def test_the_answer_is_one_document(
    name: str, given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = [word.format(**given | {"new": str(tmp_path / "new")}) for word in WORDS.get(name, CALLS[name]).split()]
    said = call(name, [*words, "--json"])
    # 1: a finding, 2: what was given is too little to decide by; both are answers
    assert said.exit_code in {0, 1, 2}, said.stderr
    assert isinstance(alone(said.stdout), dict), said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("name", "words", "code", "keys"),
    [
        ("onboard", f"--tflite {PAIR}.tflite --onnx {PAIR}.onnx --out {{new}} --scaling=-1..1 --crop-margin 1.3 "
                    "--fake-index 0", 1, {"parity", "contract", "missing"}),
        ("export", CALLS["export"] + " --contract {contract}", 0, {"files", "patch_logit_difference"}),
    ],
)  # fmt: skip
def test_what_takes_long(
    name: str, words: str, code: int, keys: set[str], given: dict[str, str], tmp_path: Path
) -> None:
    typed = [word.format(**given | {"new": str(tmp_path / "new")}) for word in words.split()]
    assert keys <= set(in_a_process(code, name, *typed))


def in_a_process(code: int, *typed: str) -> Any:
    """The document of a command in a process of its own: what it starts prints, too."""
    done = run_command(*typed, "--json")
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) > 1, "lines for people"
    return alone(done.stdout)


def test_gates_say_what_they_found_and_who_signed_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of the documentation: keys, a run that its runner signs, a release that asks for the runner's key."""
    monkeypatch.chdir(ROOT)
    run, runner = str(tmp_path / "run"), tmp_path / "runner"
    keys = alone(call("release", ["--make-keys", str(runner), "--json"]).stdout)
    found = in_a_process(0, "gates", "E1.9", "--out", run, "--attest", keys["private"])
    assert {"report", "release", "not_tested"} <= set(found)
    assert (found["verdicts"], Path(found["attestation"]).is_file()) == ({"E1.9": "pass"}, True)
    assert "self-attested" in found["release"]["title"], "the run itself asks for no key"
    told = alone(call("release", ["--dry-run", "--records", run, "--evidence-key", keys["public"], "--json"]).stdout)
    assert "self-attested" not in told["title"]
    assert found["release"]["supported"] == told["supported"] == ["E1.9"]


def test_a_table_of_mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the planted defects print goes to standard error; the document is their table, written or not."""
    asked: list[dict[str, Any]] = []

    def planted(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(options)
        Path(command[command.index("--out") + 1]).write_text('{"mutants": []}', encoding="utf-8")
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(mutants.subprocess, "run", planted)
    for words in ([], ["--out", str(tmp_path / "mutants.json")]):
        said = call("mutants", [*words, "--json"])
        assert (said.exit_code, alone(said.stdout)) == (1, {"mutants": []})
    assert [options["stdout"] for options in asked] == [2, 2]
    assert (tmp_path / "mutants.json").is_file()


def test_what_failed_leaves_no_half_document(tmp_path: Path) -> None:
    said = call("calibrate", ["--bundle", str(tmp_path / "none"), "--out", str(tmp_path / "new"), "--json"])
    assert (said.exit_code, said.stdout) == (2, "")
    assert "none" in said.stderr


def test_the_next_command_speaks_to_people_again() -> None:
    call("contract check", ["--json"])
    assert terminal.lines_descriptor() == 2
    assert "values" in call("contract check", []).stdout
    assert terminal.lines_descriptor() is None
