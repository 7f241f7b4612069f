"""E2.3 face-confidence sweep: over a sweep of face-confidence thresholds (0.2 to 0.9) in-scope pass-through,
out-of-scope leak and end-to-end error are measured; the contract holds the highest threshold without unacceptable
in-scope abstention.

Too low lets animals and drawings in, too high turns real users away. Fails when the contract's threshold is not the
one that the sweep chooses, or misses more faces than the contract allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.reason_codes import Rejected
from gates.support.binomial_limits import upper_bound
from gates.support.fixtures import Evidence, GoldenSet, NotTested
from gates.support.framings import certain_faces
from gates.support.portraits import Portrait, data_portraits, golden_portraits, open_portrait

THRESHOLDS = tuple(round(0.2 + 0.02 * step, 2) for step in range(36))  # 0.2 to 0.9


def best_scores(portraits: Sequence[Portrait], policy: PolicyContract) -> dict[str, float]:
    """Highest score of the first look in each picture; 0 where none reaches the lowest threshold.

    Rejected pictures are left out. What the second look adds is E2.9's.
    """
    first_look = {"candidate_threshold": THRESHOLDS[0], "second_look": "off"}
    finder = load_detector(policy.face_detector.model_copy(update=first_look))
    scores = {}
    for portrait in portraits:
        try:
            image = decode(read_file(portrait.path, policy.pixel_pipeline), policy.pixel_pipeline).image
        except Rejected:
            continue
        scores[portrait.name] = max((face.score for face in finder.detect(image)), default=0.0)
    return scores


def sweep_rows(inside: dict[str, float], outside: dict[str, float], confidence: float) -> list[dict[str, Any]]:
    """Missed faces and leaks at each threshold, with upper bounds."""
    rows = []
    for threshold in THRESHOLDS:
        missed = sum(score < threshold for score in inside.values())
        leaked = sum(score >= threshold for score in outside.values())
        rows.append(
            {
                "threshold": threshold,
                "missed_rate": missed / len(inside),
                "leak_rate": leaked / len(outside),
                "leak_upper_bound": upper_bound(leaked, len(outside), confidence),
                "end_to_end_error": (missed + leaked) / (len(inside) + len(outside)),
            }
        )
    return rows


def chosen_threshold(rows: Sequence[dict[str, Any]], max_missed: float) -> float:
    """The highest threshold that misses few enough faces; NaN when none does."""
    fitting = [row["threshold"] for row in rows if row["missed_rate"] <= max_missed]
    return max(fitting, default=float("nan"))


@pytest.mark.experiment("E2.3")
def test_golden_sweep(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    inside = best_scores(golden_portraits(golden), policy)
    outside = best_scores(golden_portraits(golden, "out_of_scope"), policy)
    rows = sweep_rows(inside, outside, policy.operating_point.confidence)
    evidence.table("sweep_golden", rows)
    threshold, limit = policy.face_detector.score_threshold, policy.quality_gates.max_missed_faces
    missed = sorted((name for name, score in inside.items() if score < threshold), key=lambda name: inside[name])
    leaked = [name for name, score in outside.items() if score >= threshold]
    evidence.check("missed_rate", len(missed) / len(inside), limit=limit, worst=missed[:1], n=len(inside),
                   clause="quality_gates.max_missed_faces")  # fmt: skip
    evidence.none("leaks", leaked, n=len(outside))


@pytest.mark.experiment("E2.3")
def test_data_sweep_sets_the_contract(evidence: Evidence, data_root: Path | None, policy: PolicyContract) -> None:
    """The first look chooses its threshold; the limit on missed faces is of all looks that the contract takes."""
    portraits = {scope: data_portraits(data_root, scope, ("CALIBRATION",)) for scope in ("ood", "face")}
    if not all(portraits.values()):
        missing = "no --data with pictures in and out of scope, tagged CALIBRATION, was given"
        raise NotTested("threshold sweep on --data", f"{missing}; reports/default holds the last one")
    outside, inside = (best_scores(portraits[scope], policy) for scope in ("ood", "face"))
    rows = sweep_rows(inside, outside, policy.operating_point.confidence)
    evidence.table("sweep_data", rows)
    chosen = chosen_threshold(rows, policy.quality_gates.max_missed_faces)
    evidence.measure("highest_fitting_threshold", chosen, "score")
    threshold = policy.face_detector.score_threshold
    if math.isnan(chosen) and policy.face_detector.second_look != "off":  # crops without air, as data sets hold them
        why = f"the first look alone misses more than {policy.quality_gates.max_missed_faces:g} at every threshold"
        evidence.not_tested("choice of the threshold", f"{why}; the second look is there for them")
    else:
        evidence.check("distance_to_chosen", abs(chosen - threshold), limit=1e-9, unit="score", n=len(inside))
    missed = _missed_by_every_look([one for one in portraits["face"] if one.name in inside], policy)
    evidence.check(
        "missed_rate_at_contract",
        len(missed) / len(inside),
        limit=policy.quality_gates.max_missed_faces,
        worst=missed[:1],
        n=len(inside),
    )
    evidence.figure("sweep", _figure(rows, threshold), "Missed faces and leaks against the face-confidence threshold.")


def _missed_by_every_look(portraits: Sequence[Portrait], policy: PolicyContract) -> list[str]:
    finder = load_detector(policy.face_detector)
    return [one.name for one in portraits if not certain_faces(open_portrait(one, policy), finder, policy)]


def _figure(rows: Sequence[dict[str, Any]], threshold: float) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    x = [row["threshold"] for row in rows]
    axes.plot(x, [row["missed_rate"] for row in rows], "o-", label="missed faces, in scope")
    axes.plot(x, [row["leak_rate"] for row in rows], "s-", label="leaks, out of scope")
    axes.plot(x, [row["leak_upper_bound"] for row in rows], "s:", alpha=0.6, label="leaks, upper bound")
    axes.axvline(threshold, color="0.5", linestyle="--", label="contract")
    axes.set(xlabel="face-confidence threshold", ylabel="rate", ylim=(-0.01, None))
    axes.legend()
    return figure
