"""What a later run keeps of the tests of earlier ones."""

from __future__ import annotations

from pathlib import Path

from ecdd.evidence.chain import read_chain, write_chain
from ecdd.evidence.head import RunEntry
from ecdd.evidence.records import Fragment


def _passed(experiment: str, test: str) -> Fragment:
    return Fragment(experiment=experiment, test=test, nodeid=f"{experiment}.py::{test}", outcome="passed")


def test_outcomes_are_counted_by_their_kind() -> None:
    tests = {"a": "passed", "b": "passed", "c": "skipped: no browser", "d": "skipped: later", "e": "failed"}
    assert RunEntry.model_construct(tests=tests).counts == {"failed": 1, "passed": 2, "skipped": 2}


def test_only_tests_of_records_that_still_stand_are_kept(tmp_path: Path) -> None:
    """Of E1.1 this run has a new record, of E1.3 there never was a whole one: neither's old tests stay."""
    first = [_passed("E1.1", "old"), _passed("E1.2", "old"), _passed("E1.3", "old")]
    write_chain(tmp_path, first, "one", {"E1.1", "E1.2"})
    write_chain(tmp_path, [_passed("E1.1", "new"), _passed("E1.4", "new")], "two", {"E1.1"})
    lines = [(line.run, line.test.experiment, line.test.test, line.complete) for line in read_chain(tmp_path).lines]
    assert lines == [("one", "E1.2", "old", True), ("two", "E1.1", "new", True), ("two", "E1.4", "new", False)]
