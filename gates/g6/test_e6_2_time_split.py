"""E6.2 time split: calibrated on earlier pictures and tested on later ones, the error stays within the contract's
limit.

Generators and cameras change, thresholds do not. Years are known for some reals only, so it speaks of the FPR. Fails
when later reals are called fake more often than the contract allows.
"""

from __future__ import annotations

import pytest

from ecdd.calibration.binomial_bounds import rate
from ecdd.evaluation.splits import time_split
from ecdd.evaluation.transforms import UNTOUCHED
from gates.support.fixtures import Evidence, NotTested, PolicyContract
from gates.support.score_tables import Scores


@pytest.mark.experiment("E6.2")
def test_later_reals_are_not_called_fake_more_often(evidence: Evidence, policy: PolicyContract, scores: Scores) -> None:
    """Later pictures are held out; earlier ones may be of the calibration set, whose FPR can only be too low."""
    limits, point = policy.evaluation, policy.operating_point
    calibration = [] if scores.calibration is None else scores.calibration.of(UNTOUCHED)
    split = time_split(calibration, scores.held_out.of(UNTOUCHED), limits.min_group_pictures)
    dated = sum(row["label"] == 1 and row["year"] is not None for row in scores.held_out.of(UNTOUCHED))
    evidence.not_tested("FNR over time", f"{dated} held-out fakes have a year; this split speaks of FPR alone")
    if split is None:
        why = f"no year leaves {limits.min_group_pictures} reals with a probability on both sides"
        raise NotTested("time split", why)
    shares = {}
    for name, rows in (("earlier", split.earlier), ("later", split.later)):
        wrong = [row for row in rows if row["probability"] >= point.t_fake]
        found, shares[name] = rate(len(wrong), len(rows), point.confidence), len(wrong) / len(rows)
        evidence.measure(f"fpr_{name}", f"{found.events} of {found.n}, [{found.low:.3f}, {found.high:.3f}]")
    increase = shares["later"] - shares["earlier"]
    worst = [row["path"] for row in sorted(split.later, key=lambda row: -row["probability"])[:3]]
    evidence.measure("last_earlier_year", split.year)
    limit = limits.max_later_fpr_increase
    evidence.check("later_fpr_increase", increase, limit=limit, unit="rate", worst=worst, n=len(split.later),
                   clause="evaluation.max_later_fpr_increase")  # fmt: skip
