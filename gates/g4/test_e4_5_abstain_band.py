"""E4.5 abstain band: a sweep gives risk against coverage, the error on decided pictures, and the abstain rate by
reason.

A wide band hides every error behind abstention. Fails when the sweep does not trade coverage for risk, or when an
abstention is lost or counted as an error or as a success.
"""

from __future__ import annotations

import numpy as np
import pytest

from ecdd.calibration import abstain_policy
from ecdd.calibration.abstain_policy import band_rates, count_decisions
from ecdd.evaluation import contradictions, metrics
from ecdd.inference.decision import decide
from ecdd.parity import float_vs_tflite
from gates.support import calibration_figures as figures
from gates.support.calibration_set import CalibrationSet, Predicted, predicted
from gates.support.fixtures import Detector, Evidence, GoldenSet, PolicyContract
from gates.support.made_rows import row
from gates.support.portraits import golden_portraits

RATES = ("fpr", "fnr", "abstain_real", "abstain_fake", "coverage", "selective_risk", "selective_fpr", "selective_fnr")


@pytest.mark.experiment("E4.5")
def test_band_sweep(evidence: Evidence, policy: PolicyContract, calibration_set: CalibrationSet) -> None:
    """The contract's band decides with less risk than no band would, at what coverage stands beside it."""
    point, p, y = policy.operating_point, calibration_set.probabilities, calibration_set.judged.labels
    rows = []
    for t_real in sorted({0.05, 0.1, 0.2, 0.3, 0.4, 0.5, point.t_real}):
        for t_fake in sorted({0.5, 0.6, 0.7, 0.8, 0.9, point.t_fake}):
            if t_real < t_fake:
                rates = band_rates(p, y, t_real, t_fake)
                rows.append({"t_real": t_real, "t_fake": t_fake, **{name: getattr(rates, name) for name in RATES}})
    evidence.table("band_sweep", rows)
    now, none = band_rates(p, y, point.t_real, point.t_fake), band_rates(p, y, 0.5 - 1e-9, 0.5)
    decided = round(now.coverage * len(p))
    evidence.check("selective_risk", now.selective_risk, limit=none.selective_risk, op="<", unit="rate", n=decided)
    for name in RATES:
        evidence.measure(name, getattr(now, name), "rate")
    evidence.measure("risk_without_a_band", none.selective_risk, "rate")
    caption = "Error among decided pictures against the share decided; the dot is the contract's band."
    evidence.figure("risk_coverage", figures.risk_and_coverage(calibration_set, now), caption)
    caption = "Calibrated probabilities of the calibration pictures, by class and by source; blue is real, red is fake."
    evidence.figure("histograms", figures.histograms(calibration_set, policy), caption)


@pytest.mark.experiment("E4.5")
def test_thresholds_are_ordered_and_decide_at_their_own_value(evidence: Evidence, policy: PolicyContract) -> None:
    point, gates = policy.operating_point, policy.quality_gates
    evidence.check("t_real_below_t_fake", point.t_fake - point.t_real, limit=0, op=">", unit="probability")
    edges = (
        (point.t_fake, "fake"),
        (np.nextafter(point.t_fake, 0), "abstain"),
        (np.nextafter(point.t_real, 1), "abstain"),
        (point.t_real, "real"),
    )
    wrong = []
    for p, label in edges:
        found = decide({0: float(p)}, [()], gates, point)
        if found.label != label or (label == "abstain") != (found.reason_codes == ("MD-001",)):
            wrong.append(f"{p!r}: {found.label} {found.reason_codes}, expected {label}")
    evidence.none("edges_decided_wrongly", wrong, n=len(edges), unit="probability")


@pytest.mark.experiment("E4.5")
def test_abstentions_carry_reason_and_action_and_are_never_correct(
    evidence: Evidence, golden: GoldenSet, detector: Detector, held_out: list[Predicted], policy: PolicyContract
) -> None:
    """The user interface is told what to do; in a count of decisions an abstention is an outcome of its own."""
    portraits = [*golden_portraits(golden, "in_scope"), *golden_portraits(golden, "edge_cases")]
    pictures = predicted(detector, portraits) + held_out
    silent = [x.name for x in pictures if x.abstained and not (x.verdict.reason_codes and x.verdict.detail)]
    evidence.none("abstentions_without_a_reason", silent, n=len(pictures))
    action = policy.operating_point.abstain_action
    wrong = [x.name for x in pictures if x.verdict.abstain_action != (action if x.abstained else None)]
    evidence.none("actions_differing_from_the_contract", wrong, n=len(pictures))
    labelled = [(x.label, x.verdict.label, x.verdict.reason_codes) for x in pictures if x.label is not None]
    counts = count_decisions(labelled)
    rows = [{"reason": reason, "pictures": count} for reason, count in counts.by_reason.items()]
    evidence.table("abstentions_by_reason", rows)
    total = counts.correct + counts.wrong + counts.abstained
    evidence.check("outcomes_counted", total, limit=len(labelled), op="==", unit="picture", n=len(labelled))
    shy = count_decisions([(truth, "abstain", ("MD-001",)) for truth, _, _ in labelled])
    evidence.check("accuracy_of_always_abstaining", shy.accuracy, limit=0, op="==", n=len(labelled))
    evidence.measure("accuracy_over_all_pictures", counts.accuracy, "rate")


@pytest.mark.experiment("E4.5")
def test_every_count_decides_as_the_detector_does(evidence: Evidence, policy: PolicyContract) -> None:
    """Scores on both thresholds and next to them: rates that are counted without `decide` must say what it says."""
    point, band = policy.operating_point, (policy.operating_point.t_real, policy.operating_point.t_fake)
    edges = [float(p) for t in band for p in (np.nextafter(t, 0), t, np.nextafter(t, 1))]
    scored = [(p, label) for p in edges for label in (0, 1)]
    said = [decide({0: p}, [()], policy.quality_gates, point).label for p, _ in scored]
    outcomes = [(label, verdict) for (_, label), verdict in zip(scored, said, strict=True)]
    meant = {"fpr": (0, "fake"), "fnr": (1, "real"), "abstain_real": (0, "abstain"), "abstain_fake": (1, "abstain")}
    expected = {name: outcomes.count(outcome) for name, outcome in meant.items()}
    p, y = np.array([one for one, _ in scored]), np.array([label for _, label in scored])
    bands = abstain_policy.band_rates(p, y, *band)
    rows = [row(k, label, said[k], one, logit=one) for k, (one, label) in enumerate(scored)]
    table = metrics.at_operating_point(rows, point)
    wrong = [
        f"{counted}: {name} {found}, the detector says {expected[name]}"
        for counted, rates in (
            ("band_rates", {name: round(getattr(bands, name) * len(edges)) for name in expected}),
            ("at_operating_point", {name: getattr(table, name).events for name in expected}),
        )
        for name, found in rates.items()
        if found != expected[name]
    ]
    in_parity = [float_vs_tflite.label_of(one, band) for one, _ in scored]
    wrong += [f"parity: {p!r} is {a}" for (p, _), a, b in zip(scored, in_parity, said, strict=True) if a != b]
    wrong += contradictions.not_of_this_bundle(rows, point, lambda logit: logit, {}, 0.0)
    evidence.none("rates_that_decide_otherwise", wrong, n=len(scored), unit="rate")
