"""Records of several runs in one folder: each is held against the very tests that it was merged from."""

from __future__ import annotations

import json
from pathlib import Path

from ecdd.evidence.chain import find_edits
from ecdd.evidence.merging import read_records, write_records
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.verdicts import judge_metric
from gates.units.evidence.conftest import GREEN, Project

pytest_plugins = ["pytester"]


def _folder(project: Project) -> Path:
    (index,) = (project.root / "reports").glob("**/index.json")
    return index.parent


def _rewrite(folder: Path, key: str, **changes: object) -> None:
    """Edit a record as one would who knows the index: its digests are made anew, and its verdict follows."""
    record = read_records(folder)[key]
    metric = record.metrics[0].model_copy(update=changes)
    judged = metric.model_copy(update={"verdict": judge_metric(metric.value, metric.op, metric.limit, metric.n)})
    edited = record.model_copy(update={"metrics": (judged, *record.metrics[1:])})
    write_records(folder, {key: ExperimentRecord.model_validate(edited.model_dump())})


def test_runs_after_one_another_agree(project: Project, workers: int | None) -> None:
    """The whole, then a part of it, then another file, then the whole again: no honest folder is called edited."""
    for arguments in (("gates",), ("gates", "-k", "test_a"), ("gates/test_2.py",), ("gates",)):
        assert project.run(*arguments, workers=workers).ret == 0
        assert find_edits(_folder(project)) == [], arguments


def test_a_record_that_was_rewritten_with_its_index_is_found(project: Project) -> None:
    assert project.run("gates").ret == 0
    _rewrite(_folder(project), "E1.1", value=0.1)
    assert find_edits(_folder(project)) == ["E1.1: the record is not what its tests in evidence.jsonl measured"]


def test_a_record_of_an_earlier_run_is_still_held_to_its_tests(project: Project) -> None:
    assert project.run("gates").ret == 0
    assert project.run("gates/test_2.py").ret == 0
    _rewrite(_folder(project), "E1.1", limit=0.9)
    assert any("E1.1: the record is not what its tests" in text for text in find_edits(_folder(project)))


def test_a_red_test_cannot_be_left_out(project: Project) -> None:
    """The failing test's line is dropped and the chain made anew: the record says that more tests ran."""
    project.write("gates/test_1.py", GREEN.replace("0.25", "0.75"))
    assert project.run("gates").ret == 1
    path = _folder(project) / "evidence.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["test"]["test"] != "test_a"))
    assert any("edited, removed or exchanged" in text for text in find_edits(_folder(project)))
