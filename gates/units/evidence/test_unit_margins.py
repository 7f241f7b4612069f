"""Margins by hand, and their agreement with the verdicts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecdd.evidence.collecting import Evidence
from ecdd.evidence.margins import closest_metric, margin_of
from ecdd.evidence.records import Metric, Operator
from ecdd.evidence.report_rows import shown
from ecdd.evidence.verdicts import finite, judge_metric

NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6, allow_nan=False))


def metric(value: float | None, op: Operator, limit: float | None, name: str = "m", clause: str = "E1.3") -> Metric:
    verdict = judge_metric(value, op, limit, 1)
    return Metric(name=name, test="test_a", value=value, op=op, limit=limit, n=1, verdict=verdict, clause=clause)


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (np.int64(3), 3), (3.0, 3.0), (np.float32(0.5), 0.5), (True, 1), ("3", None), (None, None),
     (math.nan, None), (np.inf, None), ([3], None)],
)  # fmt: skip
def test_what_counts_as_a_number(value: object, number: float | None) -> None:
    found = finite(value)
    assert found == number
    assert type(found) is type(number)


BY_HAND = [
    (0.04, "<=", 0.05, "relative", 0.2, "+20 %"),
    (0.06, "<=", 0.05, "relative", -0.2, "\u221220 %"),
    (0.9, ">=", 0.8, "relative", 0.125, "+12.5 %"),
    (13, ">=", 5, "relative", 1.6, "+160 %"),
    (3, ">=", 5, "relative", -0.4, "\u221240 %"),
    (-3.0, "<", -2.0, "relative", 0.5, "+50 %"),
    (0.5, "<=", 0.5, "relative", 0.0, "+0 %"),
    (120001, "<=", 1, "relative", -120000.0, "\u221212\u202f000\u202f000 %"),
    (0.0, "<=", 0.0, "absolute", 0.0, "at the limit"),
    (0.25, "<=", 0.0, "absolute", -0.25, "\u22120.25"),
    (0.25, ">", 0, "absolute", 0.25, "+0.25"),
    (5, "==", 5, "exact", 0.0, "exact"),
    (2, "==", 0, "exact", -2.0, "off by 2"),
    (None, "<=", 0.5, "none", None, "no number"),
    (0.5, "<=", None, "none", None, "no number"),
]


@pytest.mark.parametrize(("value", "op", "limit", "kind", "margin", "text"), BY_HAND)
def test_margin_by_hand(
    value: float | None, op: Operator, limit: float | None, kind: str, margin: float | None, text: str
) -> None:
    found = margin_of(metric(value, op, limit))
    assert (found.kind, found.text) == (kind, text)
    assert found.value == (None if margin is None else pytest.approx(margin))


@given(NUMBERS, st.sampled_from(["<=", "<", ">=", ">", "=="]), NUMBERS)
def test_the_sign_is_the_verdict(value: float, op: Operator, limit: float) -> None:
    judged = metric(value, op, limit)
    margin = margin_of(judged).value
    assert margin is not None
    if margin != 0:
        assert (margin > 0) == (judged.verdict == "pass")
    else:
        assert (judged.verdict == "pass") == (op in {"<=", ">=", "=="}) or value != limit


ORDER = [
    metric(None, "<=", 1.0, "no number"),
    metric(3.0, "<=", 1.0, "far beyond"),
    metric(1.1, "<=", 1.0, "beyond"),
    metric(0.1, "<=", 0.0, "above zero"),
    metric(1, "==", 0, "not equal"),
    metric(0.99, "<=", 1.0, "near"),
    metric(13, ">=", 5, "far", "calibration.min_samples_per_class"),
    metric(0.0, "<=", 0.0, "zero"),
    metric(4, "==", 4, "equal"),
]


@given(st.permutations(ORDER))
def test_the_closest_metric(metrics: list[Metric]) -> None:
    names = []
    while metrics:
        closest = closest_metric(metrics)
        assert closest is not None
        names.append(closest.name)
        metrics = [one for one in metrics if one is not closest]
    assert names == [one.name for one in ORDER]


def test_no_metric_is_closest_of_none() -> None:
    assert closest_metric([]) is None


def test_what_was_looked_at_is_shown_only_where_it_failed() -> None:
    seen, equal = metric(20, ">=", 20, "modules scanned"), metric(4, "==", 4, "equal")
    assert closest_metric([seen]) is None
    assert closest_metric([seen, equal]) is equal
    too_few = metric(3, ">=", 20, "modules scanned")
    assert closest_metric([equal, too_few]) is too_few


def test_a_near_miss_shows_enough_digits() -> None:
    assert shown(0.05) == "0.05"
    assert shown(0.0500000001, 0.05) == "0.0500000001"
    assert shown(0.05, 0.05) == "0.05"
    assert (shown(None), shown(value=True), shown(3)) == ("nothing finite", "yes", "3")


@pytest.mark.parametrize(("given", "stored"), [("", "E1.9"), ("quality_gates.min_recall", "quality_gates.min_recall")])
def test_a_metric_without_a_clause_has_that_of_its_experiment(given: str, stored: str, tmp_path: Path) -> None:
    evidence = Evidence("E1.9", "test_a", tmp_path)
    evidence.check("error", 0.25, limit=0.5, n=3, clause=given)
    assert evidence.metrics[0].clause == stored
