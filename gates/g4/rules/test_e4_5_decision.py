"""From a pooled logit to a probability, and from faces to a verdict: the decision table."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecdd.bundle import load_bundle
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration, probability
from ecdd.inference.decision import Decision, decide

pytestmark = pytest.mark.experiment("E4.5", rules=True)

POLICY = load_bundle("tiny").contract.policy
SEEDED = settings(deadline=None, max_examples=60, derandomize=True)


@SEEDED
@given(st.floats(-1e6, 1e6), st.floats(0.01, 100), st.floats(-20, 20))
def test_probability_is_one_and_symmetric(logit: float, temperature: float, bias: float) -> None:
    applied = AppliedCalibration(temperature, bias)
    scaled = applied.logit(logit)
    p = probability(scaled)
    assert 0 <= p <= 1
    assert p + probability(-scaled) == pytest.approx(1, abs=1e-12)
    assert applied.logit(logit + 1) >= scaled


def test_probability_at_known_points() -> None:
    assert probability(0.0) == 0.5
    assert probability(math.log(3)) == pytest.approx(0.75)
    assert probability(800.0) == 1.0
    assert probability(-800.0) == 0.0
    assert AppliedCalibration(2.0, 0.25).logit(3.0) == 1.75
    assert UNCALIBRATED.logit(3.0) == 3.0


def test_knots_are_joined_by_lines_and_end_flat() -> None:
    applied = AppliedCalibration(knots=((-1.0, -2.0), (0.0, 0.0), (2.0, 1.0)))
    points = {-5.0: -2.0, -1.0: -2.0, -0.5: -1.0, 0.0: 0.0, 1.0: 0.5, 2.0: 1.0, 9.0: 1.0}
    assert {x: applied.logit(x) for x in points} == points


POINT = POLICY.operating_point.model_copy(update={"t_real": 0.3, "t_fake": 0.7})
LEVELS = {"low": 0.1, "at_real": 0.3, "band": 0.5, "at_fake": 0.7, "high": 0.9}
SMALL, BLURRY = ("GR-003",), ("GR-004",)


def decided(probabilities: dict[int, float], codes: list[tuple[str, ...]], policy: str = "abstain") -> Decision:
    return decide(probabilities, codes, POLICY.quality_gates.model_copy(update={"unjudged_face_policy": policy}), POINT)


@pytest.mark.parametrize("policy", ["abstain", "ignore"])
@pytest.mark.parametrize(
    ("level", "label"), list(zip(LEVELS, ["real", "real", "abstain", "fake", "fake"], strict=True))
)
def test_one_judged_face(level: str, label: str, policy: str) -> None:
    found = decided({0: LEVELS[level]}, [()], policy)
    assert found == Decision(label, ("MD-001",) if label == "abstain" else (), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "policy", "label", "codes"),
    [
        ("low", "abstain", "abstain", SMALL),
        ("at_real", "abstain", "abstain", SMALL),
        ("band", "abstain", "abstain", SMALL),
        ("at_fake", "abstain", "fake", ()),
        ("high", "abstain", "fake", ()),
        ("low", "ignore", "real", ()),
        ("at_real", "ignore", "real", ()),
        ("band", "ignore", "abstain", ("MD-001",)),
        ("at_fake", "ignore", "fake", ()),
        ("high", "ignore", "fake", ()),
    ],
)
def test_a_judged_face_beside_one_that_failed_a_gate(
    level: str, policy: str, label: str, codes: tuple[str, ...]
) -> None:
    assert decided({1: LEVELS[level]}, [SMALL, ()], policy) == Decision(label, codes, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["abstain", "ignore"])
def test_without_a_judged_face_all_codes_are_given_sorted(policy: str) -> None:
    codes = [("GR-005", "GR-004"), SMALL, BLURRY]
    assert decided({}, codes, policy) == Decision("abstain", ("GR-003", "GR-004", "GR-005"), None)


@SEEDED
@given(st.dictionaries(st.integers(0, 7), st.floats(0, 1), min_size=1, max_size=8))
def test_the_most_suspicious_face_decides(probabilities: dict[int, float]) -> None:
    found = decided(probabilities, [()] * 8)
    highest = max(probabilities.values())
    assert found.deciding_face == min(index for index, p in probabilities.items() if p == highest)
    assert (found.label == "fake") == (highest >= POINT.t_fake)
    assert (found.label == "real") == (highest <= POINT.t_real)
    assert (found.label == "abstain") == bool(found.reason_codes)
