"""Stored evidence: edits are found, and the same numbers can be held to another contract."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ecdd.bundle.loading import default_bundle_path
from ecdd.contract.loading import load_contract
from ecdd.evidence.contract_limits import limit_key
from ecdd.evidence.edits import find_edits
from ecdd.evidence.merging import read_records
from ecdd.evidence.rejudging import rejudge
from gates.mutants.warm_processes import run_pytest
from gates.own_model.bringing import ecdd


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two experiments, one green and one red."""
    folder = tmp_path_factory.mktemp("run")
    clauses = ("gates/g6/test_e6_1_source_splits.py", "gates/g6/test_e6_2_time_split.py")
    run_pytest(clauses, folder, options=("--junitxml", str(folder / "junit.xml")))
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def _judge(*arguments: object) -> subprocess.CompletedProcess[str]:
    return ecdd("judge", *arguments)


def test_a_run_agrees_with_itself(run: Path) -> None:
    assert find_edits(run) == []
    lines = (run / "evidence.jsonl").read_text(encoding="utf-8").splitlines()
    tests = [json.loads(line)["test"] for line in lines]
    assert len({test["nodeid"] for test in tests}) == len(lines)
    functions = {(test["experiment"], test["test"]) for test in tests}
    assert len(functions) == sum(record.tests.collected for record in read_records(run).values())


def _raise_value(folder: Path) -> None:
    path = folder / "phase6_results" / "E6.1.json"
    path.write_text(path.read_text().replace('"verdict": "fail"', '"verdict": "pass"'))


def _drop_line(folder: Path) -> None:
    path = folder / "evidence.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[1:]))


def _edit_line(folder: Path) -> None:
    path = folder / "evidence.jsonl"
    path.write_text(path.read_text().replace('"outcome": "failed"', '"outcome": "passed"', 1))


def _edit_junit(folder: Path) -> None:
    path = folder / "junit.xml"
    text = path.read_text()
    begin, end = text.index("<failure"), text.index("</failure>") + len("</failure>")
    path.write_text(text[:begin] + text[end:])


def _drop_record(folder: Path) -> None:
    (folder / "phase6_results" / "E6.2.json").unlink()


EDITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "record": (_raise_value, "E6.1: the record is not the one in index.json"),
    "line removed": (_drop_line, "evidence.jsonl line 1: edited, removed or exchanged"),
    "line edited": (_edit_line, "edited, removed or exchanged"),
    "junit": (_edit_junit, "is passed there and failed in evidence.jsonl"),
    "record removed": (_drop_record, "E6.2: in index.json, but its record is gone"),
}


@pytest.mark.parametrize("name", list(EDITS))
def test_an_edit_is_found_and_named(copy: Path, name: str) -> None:
    edit, said = EDITS[name]
    edit(copy)
    assert any(said in text for text in find_edits(copy))
    refused = _judge(copy)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_limits_of_the_contract_are_found(run: Path) -> None:
    """Each metric that is tied to a contract key was held to the value of that key."""
    contract = load_contract(default_bundle_path() / "policy_contract.yaml")
    tied = [
        (metric, key) for record in read_records(run).values() for metric in record.metrics
        if (key := limit_key(metric)) is not None
    ]  # fmt: skip
    assert len(tied) >= 4
    for metric, key in tied:
        assert contract.values[key] == metric.limit, metric.name


def test_another_contract_judges_the_same_numbers(run: Path, tmp_path: Path) -> None:
    text = (default_bundle_path() / "policy_contract.yaml").read_text(encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("max_abstain_rate: {value: 0.3,", "max_abstain_rate: {value: 0.5,"))
    assert "E6.1  FAIL" in _judge(run).stdout
    lax = _judge(run, "--contract", other)
    assert "operating_point.max_abstain_rate 0.3 -> 0.5" in lax.stdout
    assert lax.returncode == ("FAIL" in lax.stdout)
    other.write_text(text.replace("max_abstain_rate: {value: 0.3,", "max_abstain_rate: {value: 0.51,"))
    beyond = _judge(run, "--contract", other)
    assert beyond.returncode == 2
    assert "operating_point.max_abstain_rate" in beyond.stderr
    other.write_text(text.replace("max_later_fpr_increase: {value: 0.05,", "max_later_fpr_increase: {value: 0.0,"))
    before = read_records(run)["E6.2"]
    value = next(m.value for m in before.metrics if m.name == "later_fpr_increase")
    assert value is not None
    strict = _judge(run, "--contract", other)
    assert ("E6.2  FAIL" in strict.stdout) == (value > 0)
    assert strict.returncode == 1


def test_a_limit_that_was_tighter_lets_pass_what_failed_by_it_alone(run: Path) -> None:
    """E6.2 as if its limit had been -1: by the shipped contract it passes."""
    record = read_records(run)["E6.2"]
    tight = tuple(
        m.model_copy(update={"limit": -1.0, "verdict": "fail"}) if m.name == "later_fpr_increase" else m
        for m in record.metrics
    )
    counts = record.tests.model_copy(update={"failed": 1, "passed": record.tests.passed - 1})
    red = record.model_copy(update={"metrics": tight, "tests": counts, "verdict": "fail"})
    found = rejudge({"E6.2": red}, load_contract(default_bundle_path() / "policy_contract.yaml"))
    assert (found.before["E6.2"], found.after["E6.2"]) == ("fail", "pass")


def test_a_folder_without_evidence_is_named(tmp_path: Path) -> None:
    result = _judge(tmp_path)
    assert result.returncode == 2
    assert "no index.json" in result.stderr
