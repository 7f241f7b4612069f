"""E4.5 abstain band: a sweep gives risk against coverage, the error on decided pictures, and the abstain rate by
reason.

A wide band hides every error behind abstention. Fails when the sweep does not trade coverage for risk, or when an
abstention is lost or counted as an error or as a success.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecdd.calibration.abstain_policy import band_rates, count_decisions
from gates.g4.conftest import no_logits
from gates.support import calibration_figures as figures
from gates.support.portraits import golden_portraits

RATES = ("fpr", "fnr", "abstain_real", "abstain_fake", "coverage", "selective_risk", "selective_fpr", "selective_fnr")


@pytest.mark.experiment("E4.5")
def test_band_sweep(evidence: Any, policy: Any, committed: Any) -> None:
    """The contract's band decides with less risk than no band would, at what coverage stands beside it."""
    if committed is None:
        no_logits(evidence)
        return
    point, p, y = policy.operating_point, committed.probabilities, committed.judged.labels
    rows = []
    for t_real in sorted({0.05, 0.1, 0.2, 0.3, 0.4, 0.5, point.t_real}):
        for t_fake in sorted({0.5, 0.6, 0.7, 0.8, 0.9, point.t_fake}):
            if t_real < t_fake:
                rates = band_rates(p, y, t_real, t_fake)
                rows.append({"t_real": t_real, "t_fake": t_fake, **{name: getattr(rates, name) for name in RATES}})
    evidence.table("band_sweep", rows)
    now, none = band_rates(p, y, point.t_real, point.t_fake), band_rates(p, y, 0.5 - 1e-9, 0.5)
    evidence.check("selective_risk", now.selective_risk, limit=none.selective_risk, op="<", unit="rate",
                   n=round(now.coverage * len(p)))  # fmt: skip
    for name in RATES:
        evidence.measure(name, getattr(now, name), "rate")
    evidence.measure("risk_without_a_band", none.selective_risk, "rate")
    caption = "Error among decided pictures against the share decided; the dot is the contract's band."
    evidence.figure("risk_coverage", figures.risk_and_coverage(committed, now), caption)
    caption = "Calibrated probabilities of the calibration pictures, by class and by source; blue is real, red is fake."
    evidence.figure("histograms", figures.histograms(committed, policy), caption)


@pytest.mark.experiment("E4.5")
def test_thresholds_are_ordered_and_decide_at_their_own_value(evidence: Any, policy: Any) -> None:
    from ecdd.inference.decision import decide

    point, gates = policy.operating_point, policy.quality_gates
    evidence.check("t_real_below_t_fake", point.t_fake - point.t_real, limit=0, op=">", unit="probability")
    wrong = []
    for p, label in ((point.t_fake, "fake"), (np.nextafter(point.t_fake, 0), "abstain"),
                     (np.nextafter(point.t_real, 1), "abstain"), (point.t_real, "real")):  # fmt: skip
        found = decide({0: float(p)}, [()], gates, point)
        if found.label != label or (label == "abstain") != (found.reason_codes == ("MD-001",)):
            wrong.append(f"{p!r}: {found.label} {found.reason_codes}, expected {label}")
    evidence.none("edges_decided_wrongly", wrong, n=4, unit="probability")


@pytest.mark.experiment("E4.5")
def test_abstentions_carry_reason_and_action_and_are_never_correct(
    evidence: Any, golden: Any, detector: Any, held_out: Any, policy: Any
) -> None:
    """The user interface is told what to do; in a count of decisions an abstention is an outcome of its own."""
    pairs = [
        (x, detector.predict(x.path)) for name in ("in_scope", "edge_cases") for x in golden_portraits(golden, name)
    ]
    pairs += held_out
    action = policy.operating_point.abstain_action
    silent = [x.name for x, v in pairs if v.label == "abstain" and (not v.reason_codes or not v.detail)]
    evidence.none("abstentions_without_a_reason", silent, n=len(pairs))
    wrong = [x.name for x, v in pairs if v.abstain_action != (action if v.label == "abstain" else None)]
    evidence.none("actions_differing_from_the_contract", wrong, n=len(pairs))
    labelled = [(x.label, v.label, v.reason_codes) for x, v in pairs if x.label is not None]
    counts = count_decisions(labelled)
    rows = [{"reason": reason, "pictures": count} for reason, count in counts.by_reason.items()]
    evidence.table("abstentions_by_reason", rows)
    total = counts.correct + counts.wrong + counts.abstained
    evidence.check("outcomes_counted", total, limit=len(labelled), op="==", unit="picture", n=len(labelled))
    shy = count_decisions([(truth, "abstain", ("MD-001",)) for truth, _, _ in labelled])
    evidence.check("accuracy_of_always_abstaining", shy.accuracy, limit=0, op="==", n=len(labelled))
    evidence.measure("accuracy_over_all_pictures", counts.accuracy, "rate")
