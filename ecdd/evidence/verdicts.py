"""Verdicts as pure functions of what was stored, so that a record can be judged again without running anything."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from ecdd.evidence.records import Absent, ExperimentRecord, Metric, Operator, Result, RuledOut, TestCounts, Verdict

RULES_BROKEN: Final = "rules_broken"  # what the tests of a file of rules measure, whatever the bundle
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}


def finite(value: object) -> float | int | None:
    """A plain number, or None for what cannot be judged: NaN, infinite, missing, not a number.

    Parameters
    ----------
    value : object
        Any scalar, also of numpy.

    Returns
    -------
    float, int or None
        The number.
    """
    if value is None or isinstance(value, str):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and not isinstance(value, float) else number


def judge_metric(value: float | None, op: Operator, limit: float | None, n: int | None) -> Result:
    """Hold a value to its limit.

    Parameters
    ----------
    value, limit : float or None
        What is no finite number fails, on either side.
    op : str
        Comparison that must hold.
    n : int or None
        Number of samples; 0 fails, None means that it is no aggregate.

    Returns
    -------
    {"pass", "fail"}
        Never anything in between.
    """
    if finite(value) is None or finite(limit) is None or n == 0:
        return "fail"
    return "pass" if _COMPARE[op](value, limit) else "fail"


def judge_experiment(
    metrics: Sequence[Metric],
    tests: TestCounts,
    failures: Sequence[str],
    not_tested: Sequence[Absent],
    not_applicable: Sequence[RuledOut] = (),
    *,
    complete_selection: bool,
) -> Verdict:
    """Verdict of an experiment.

    Parameters
    ----------
    metrics : sequence of Metric
        Judged again here; the stored verdicts are not believed.
    tests : TestCounts
        Counts of this run.
    failures : sequence of str
        Tests that failed for another reason than a metric, or never finished.
    not_tested : sequence of Absent
        What the run could not measure.
    not_applicable : sequence of RuledOut
        What the contract rules out.
    complete_selection : bool
        Whether the run was asked for the whole experiment.

    Returns
    -------
    {"pass", "fail", "incomplete", "not_tested", "not_applicable"}
        ``incomplete`` when only a part was selected, whatever came of that part; ``fail`` for any failing metric or
        test, a test that is skipped, declared and gone, or not declared; ``not_tested`` when every test ran and
        nothing could be measured; ``not_applicable`` when the contract rules out all that there was to measure. Rules
        that hold measure nothing of a bundle.
    """
    if not complete_selection:
        return "incomplete"
    if any(judge_metric(m.value, m.op, m.limit, m.n) == "fail" for m in metrics) or failures or tests.failed:
        return "fail"
    if tests.undeclared or tests.skipped or tests.missing or tests.passed != tests.declared:
        return "fail"
    if all(metric.name == RULES_BROKEN for metric in metrics):
        return "not_tested" if not_tested else "not_applicable" if not_applicable else "fail"
    return "pass"


def judge_record(record: ExperimentRecord) -> Verdict:
    """Judge a stored record again from its own numbers."""
    return judge_experiment(
        record.metrics,
        record.tests,
        record.failures,
        record.not_tested,
        record.not_applicable,
        complete_selection=record.complete_selection,
    )


def red_metrics(record: ExperimentRecord) -> dict[str, float | int | None]:
    """Values of the metrics that missed their limits, by name; the last one where a name stands twice."""
    return {m.name: m.value for m in record.metrics if judge_metric(m.value, m.op, m.limit, m.n) == "fail"}


def only_metrics_are_red(record: ExperimentRecord) -> bool:
    """Whether a failing record failed by what it measured, and not because a test broke, was skipped or is gone."""
    tests = record.tests
    measured = {m.test.partition("[")[0] for m in record.metrics if judge_metric(m.value, m.op, m.limit, m.n) == "fail"}
    broken = record.failures or tests.skipped or tests.missing or tests.undeclared
    return not broken and tests.failed == len(measured) and tests.collected == tests.declared


def judge_gate(states: Sequence[str]) -> tuple[Verdict, int, int]:
    """Judge a gate from its experiments.

    Parameters
    ----------
    states : sequence of str
        Verdict of every experiment of the gate; any other word for one that did not run, or ran for another bundle.

    Returns
    -------
    ({"pass", "fail", "incomplete"}, int, int)
        Fail for any red; pass where something passed, and with it all that the contract lets apply. How many passed,
        and of how many that apply.
    """
    passed, apply = states.count("pass"), len(states) - states.count("not_applicable")
    return "fail" if "fail" in states else "pass" if passed == apply > 0 else "incomplete", passed, apply
