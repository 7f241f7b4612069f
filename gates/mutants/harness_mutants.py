"""Defects of the test suite and of evidence: tests that vanish or are excused, edits and waivers that nobody checks.

The first three plant hooks into pytest, since that is where such a defect takes effect; they must show in the counts of
declared, collected and passed tests.
"""

from __future__ import annotations

from typing import Any

import pytest

TEST = "test_errors_under_transforms"


class _Deleted:
    """The test is gone from its file; nothing says so, as no deselection is reported."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.name != TEST]


class _EmptyParameters:
    """A table that generates cases was loaded empty: pytest skips the test and goes on."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if metafunc.function.__name__ == TEST:
            metafunc.parametrize("scores", [])


class _Excused:
    """The test is marked as expected to fail, not strictly: JUnit then shows a pass or a skip, never a failure."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.name == TEST:
                item.add_marker(pytest.mark.xfail(reason="known", strict=False))


def deleted_test() -> Any:
    """A test of the experiment was deleted."""
    return _Deleted()


def empty_parametrize() -> Any:
    """A test of the experiment runs over no case at all."""
    return _EmptyParameters()


def xfail_as_pass() -> Any:
    """A test of the experiment is excused."""
    return _Excused()


def edited_junit() -> None:
    """Nobody holds the JUnit file against the tests that ran."""
    from ecdd.evidence import chain

    chain._edited_junit = lambda _path, _tests: []


def edited_record() -> None:
    """Nobody holds a record against its index and its tests."""
    from ecdd.evidence import chain

    chain._edited_records = lambda _folder, _lines: []


def edited_chain() -> None:
    """Nobody recomputes the digests of the chain."""
    from ecdd.evidence import chain

    really = chain._read_chain

    def planted(path: Any) -> Any:
        lines, problems = really(path)
        return lines, [text for text in problems if "edited" not in text]

    chain._read_chain = planted


def expired_waiver() -> None:
    """An old exception is kept forever."""
    import datetime

    from ecdd.release import approval

    really = approval.judge_waivers
    approval.judge_waivers = lambda waivers, not_run, _as_of: really(waivers, not_run, datetime.date.min)


def waived_red_claim() -> None:
    """A waiver covers what was measured and failed."""
    from ecdd.release import approval

    judged, against = approval.judge_waivers, approval._against
    approval.judge_waivers = lambda waivers, not_run, as_of: judged(
        [waiver for waiver in waivers if waiver.id in not_run], not_run, as_of
    )
    approval._against = lambda record, declared: [] if record.tests.failed else against(record, declared)


def evidence_of_another_bundle() -> None:
    """Records count whatever bundle they were measured on."""
    from ecdd.release import approval

    really = approval._collect

    def planted(bundle: Any, folders: Any) -> Any:
        read = approval.read_records

        def as_ours(folder: Any) -> Any:
            ours = {"payload_digest": bundle.payload_digest, "contract_digest": bundle.contract.digest}
            return {
                key: record.model_copy(update={"identity": record.identity.model_copy(update=ours)})
                for key, record in read(folder).items()
            }

        approval.read_records = as_ours
        try:
            return really(bundle, folders)
        finally:
            approval.read_records = read

    approval._collect = planted
