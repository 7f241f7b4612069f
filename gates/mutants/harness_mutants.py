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
    from ecdd.evidence import edits

    edits._edited_junit = lambda _path, _tests: []


def edited_record() -> None:
    """Nobody holds a record against the head and its tests."""
    from ecdd.evidence import edits

    edits._edited_records = lambda _folder, _head, _records: []
    edits._unsupported = lambda _records, _chain: []


def edited_chain() -> None:
    """Nobody recomputes the digests of the chain."""
    from ecdd.evidence import chain

    chain._digest = lambda content: "same" if content else ""


def expired_waiver() -> None:
    """An old exception is kept forever."""
    import datetime

    from ecdd.release import approval

    really = approval.judge_waivers
    approval.judge_waivers = lambda waivers, not_run, _as_of, *rest: really(waivers, not_run, datetime.date.min, *rest)


def waived_red_claim() -> None:
    """A waiver covers what was measured and failed."""
    from ecdd.release import approval

    judged, against = approval.judge_waivers, approval._against
    approval.judge_waivers = lambda waivers, not_run, as_of, _red, most: judged(
        [waiver for waiver in waivers if waiver.id in not_run], not_run, as_of, {}, most
    )
    approval._against = lambda record, declared: [] if record.tests.failed else against(record, declared)


def evidence_of_another_bundle() -> None:
    """Records count whatever bundle they were measured on."""
    from ecdd.release import gathering

    gathering._is_of = lambda _identity, _bundle: True


def own_declarations() -> None:
    """Declarations that an applicant brings along are taken for the specification's."""
    _foreign_part_accepted("declarations")


def other_golden_set() -> None:
    """Evidence on a golden set of the applicant's own counts."""
    _foreign_part_accepted("golden set", "golden stages")


def other_gates_code() -> None:
    """Evidence made by changed clauses counts."""
    _foreign_part_accepted("gates' code")


def _foreign_part_accepted(*parts: str) -> None:
    from ecdd.evidence import soundness

    really = soundness.not_the_specification
    soundness.not_the_specification = lambda identity: [
        text for text in really(identity) if not any(f"other {part} " in text for part in parts)
    ]


def deleted_red_record() -> None:
    """A record that is gone together with its entry in the head is not missed, although its tests are in the chain."""
    from ecdd.evidence import edits

    really = edits._unsupported
    edits._unsupported = lambda *given: [text for text in really(*given) if "has no record" not in text]


def relabelled_records() -> None:
    """Nobody holds what a record says of its subject against the run that its tests ran in."""
    from ecdd.evidence import edits

    edits._relabelled = lambda _head, _records, _chain: []


def patched_check() -> None:
    """A plugin that takes part in a run, and may have patched what measures, stands in no way."""
    from ecdd.evidence import soundness

    soundness.unknown_plugins = lambda _plugins: []


def unclean_run() -> None:
    """A red test without an experiment, or one that never finished, is no reason against a release."""
    from ecdd.evidence import head

    head._clean = lambda _outcome: True


def known_red_waived() -> None:
    """What another run showed red is waived as if nobody had run it."""
    from ecdd.release import approval

    really = approval.judge_waivers
    approval.judge_waivers = lambda waivers, not_run, as_of, _red, most: really(waivers, not_run, as_of, {}, most)


def waivers_without_end() -> None:
    """As many claims as one likes are waived."""
    from ecdd.release import approval

    really = approval.judge_waivers
    approval.judge_waivers = lambda waivers, not_run, as_of, red, _most: really(waivers, not_run, as_of, red, 1000)


def partial_as_full() -> None:
    """A release for one claim looks like one for all of them."""
    from ecdd.release import approval

    approval._left_out = lambda *_given: ()


def recomputed_records() -> None:
    """Whatever is signed by anyone counts as attested."""
    from ecdd.release import gathering

    gathering.check_attestation = lambda _folder, _public, _digest: []


def forged_scores() -> None:
    """A score table that lies in a bundle is believed although none of its pictures is at hand."""
    from gates.support import score_tables

    score_tables.unverified = lambda _bundle: ""


def limits_without_ends() -> None:
    """Any rate can be promised: a contract lets every face be called wrong."""
    from ecdd.contract.model_sections import OperatingPoint
    from ecdd.contract.schema import PolicyContract

    for field in OperatingPoint.model_fields.values():
        field.metadata = [rule for rule in field.metadata if getattr(rule, "le", None) != 0.5]
    OperatingPoint.model_rebuild(force=True)
    PolicyContract.model_rebuild(force=True)


def missing_limit_passes() -> None:
    """What has no limit cannot miss it."""
    import math

    from ecdd.evidence import verdicts

    really = verdicts.judge_metric
    verdicts.judge_metric = lambda value, op, limit, n: (
        "pass" if limit is None or math.isnan(limit) else really(value, op, limit, n)
    )


def strict_limits() -> None:
    """A limit must be kept with room to spare."""
    import operator

    from ecdd.evidence import verdicts

    verdicts._COMPARE |= {"<=": operator.lt, ">=": operator.gt}


def waiver_ends_a_day_early() -> None:
    """The last day of a waiver does not count."""
    import datetime

    from ecdd.release import waivers

    really, day = waivers.judge_waivers, datetime.timedelta(days=1)
    waivers.judge_waivers = lambda given, not_run, as_of, *rest: really(given, not_run, as_of + day, *rest)


def last_run_counts() -> None:
    """Of two runs the later one counts: a red record is covered by a green one."""
    from ecdd.release import gathering

    gathering._join = lambda records, key, record: records.update({key: record})


def gate_green_by_majority() -> None:
    """The card of a gate is green where most of its experiments are."""
    from ecdd.evidence import report_rows

    really = report_rows.judge_gate

    def planted(states: Any) -> Any:
        state, passed, apply = really(states)
        return ("pass" if 2 * passed > apply else state), passed, apply

    report_rows.judge_gate = planted
