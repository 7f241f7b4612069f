"""Scores of sources that the scoring model did not see."""

from __future__ import annotations

from ecdd.calibration.unseen_sources import FAKE, REAL, CrossFittedScore


def test_fakes_are_judged_by_family_and_reals_by_source() -> None:
    groups = [CrossFittedScore("0" * 64, label, "site", "gan", "fold", 0.0).group for label in (REAL, FAKE)]
    assert groups == ["site", "gan"]
