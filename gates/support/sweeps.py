"""What a degradation does to the decisions: the same faces before and after, through the whole detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.detector import Detector
from ecdd.evidence.verdicts import finite
from gates.support.fixtures import Evidence
from gates.support.portraits import Portrait, open_portrait, png

Degrade = Callable[[Image.Image, float], bytes]
# "Just inside" a gate: nearer to its limit than this factor.
NEAR = 1.5


@dataclass(frozen=True)
class Sample:
    """One face at one level of a degradation, judged with the quality gates open."""

    name: str
    label: int
    level: float
    p_before: float
    p_after: float
    measures: dict[str, float]


Inside = Callable[[Sample, float], bool]


def _decision(probability: float, policy: PolicyContract) -> int:
    """1 fake, -1 real, 0 abstain."""
    point = policy.operating_point
    return 1 if probability >= point.t_fake else -1 if probability <= point.t_real else 0


def run_sweep(
    portraits: Sequence[Portrait], levels: Sequence[float], degrade: Degrade, detector: Detector
) -> list[Sample]:
    """Judge every portrait as it is and at every level.

    Parameters
    ----------
    portraits : sequence of Portrait
        Labelled faces.
    levels : sequence of float
        Degradation levels.
    degrade : callable
        From S1 and a level to a file.
    detector : Detector
        With open gates.

    Returns
    -------
    list of Sample
        Only where exactly one face was found before and after; the others are no comparison.
    """
    samples = []
    for portrait in portraits:
        image = open_portrait(portrait, detector.policy)
        before = detector.predict(png(image))
        if portrait.label is None or len(before.faces) != 1 or before.faces[0].probability is None:
            continue
        for level in levels:
            after = detector.predict(degrade(image, level))
            if len(after.faces) != 1 or after.faces[0].probability is None:
                continue
            face = after.faces[0]
            measures = {"face_side": face.face_side, "blur": face.blur, "blockiness": face.blockiness}
            measures["jpeg_quality"] = -1.0 if face.jpeg_quality is None else face.jpeg_quality
            samples.append(
                Sample(portrait.name, portrait.label, level, before.faces[0].probability, face.probability, measures)
            )
    return samples


def reversals(samples: Sequence[Sample], policy: PolicyContract) -> tuple[float, list[str]]:
    """Share of judged faces whose label turned from real to fake or back, and their names; NaN without a face."""
    turned = [s.name for s in samples if _decision(s.p_before, policy) * _decision(s.p_after, policy) == -1]
    return (len(turned) / len(samples) if samples else float("nan")), turned


def rank_stability(samples: Sequence[Sample], confidence: float) -> tuple[float, float, float]:
    """Rank correlation of scores before and after, with a one-sided bound on either side.

    The bootstrap draws portraits, not samples: one portrait at several levels is one observation.

    Parameters
    ----------
    samples : sequence of Sample
        Faces at the levels to be judged.
    confidence : float
        Of each bound.

    Returns
    -------
    tuple of float
        Estimate, lower and upper bound; NaN where fewer than eight portraits are left.
    """
    portraits: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: (s.name, s.level)):
        portraits.setdefault(sample.name, []).append(sample)
    groups = list(portraits.values())
    if len(groups) < 8:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(26)
    drawn = [
        _score_correlation([s for index in rng.integers(0, len(groups), len(groups)) for s in groups[index]])
        for _ in range(500)
    ]
    low, high = np.quantile(drawn, (1 - confidence, confidence))
    return _score_correlation(samples), float(low), float(high)


def _score_correlation(samples: Sequence[Sample]) -> float:
    return rank_correlation([s.p_before for s in samples], [s.p_after for s in samples])


def check_inside_gate(
    evidence: Evidence, samples: Sequence[Sample], inside: Inside, policy: PolicyContract, *, is_data: bool
) -> None:
    """Judge the scores of faces that a quality gate lets through after a degradation.

    With ``--data`` the faces just inside the gate are judged, and the lower bound of their rank stability must reach
    the contract's limit: that shows where the gate belongs. Of the golden faces only some ten lie so near to it; there
    all faces inside the gate are judged by the upper bound: so few can refute a gate, not show it right.

    Parameters
    ----------
    evidence : Evidence
        Of the running test.
    samples : sequence of Sample
        All faces of the sweep.
    inside : callable
        Whether a sample is inside a gate whose limit is the contract's, moved inwards by a factor.
    policy : PolicyContract
        Limits and thresholds.
    is_data : bool
        The faces come from ``--data``.
    """
    gates, origin = policy.quality_gates, "data" if is_data else "golden"
    kept = [s for s in samples if inside(s, 1.0)]
    at_limit = [s for s in kept if not inside(s, NEAR)]
    judged = at_limit if is_data else kept
    share, turned = reversals(kept, policy)
    limit = gates.max_reversals
    evidence.check(f"{origin}_reversals", share, limit=limit, unit="rate", worst=turned[:1], n=len(kept),
                   clause="quality_gates.max_reversals")  # fmt: skip
    estimate, low, high = rank_stability(judged, policy.operating_point.confidence)
    evidence.measure(f"{origin}_rank_stability", estimate, "rho")
    name, bound = ("data_rank_stability_lower_bound", low) if is_data else ("golden_rank_stability_upper_bound", high)
    evidence.check(name, bound, limit=gates.min_rank_stability, op=">=", unit="rho", n=len(judged),
                   clause="quality_gates.min_rank_stability")  # fmt: skip
    worst = [s.name for s in sorted(judged, key=lambda s: -abs(s.p_after - s.p_before))[:1]]
    limit, mean = gates.max_mean_shift, _mean_shift(judged)
    evidence.check(f"{origin}_mean_shift", mean, limit=limit, unit="probability", worst=worst, n=len(judged),
                   clause="quality_gates.max_mean_shift")  # fmt: skip
    outside = [s for s in samples if not inside(s, 1.0)]
    evidence.check(
        f"{origin}_mean_shift_outside", _mean_shift(outside), limit=mean, op=">", unit="probability", n=len(outside)
    )


def _mean_shift(samples: Sequence[Sample]) -> float:
    return float(np.mean([abs(s.p_after - s.p_before) for s in samples])) if samples else float("nan")


def level_rows(samples: Sequence[Sample], levels: Sequence[float], policy: PolicyContract) -> list[dict[str, Any]]:
    """One row a level: how many, the median measures, error, calibration error, and how many labels turned."""
    rows = []
    for level in levels:
        here = [s for s in samples if s.level == level]
        if not here:
            rows.append({"level": level, "faces": 0})
            continue
        labels = np.array([s.label for s in here])
        after = np.array([s.p_after for s in here])
        decisions = np.array([_decision(s.p_after, policy) for s in here])
        row = {
            "level": level,
            "faces": len(here),
            "median_face_side": float(np.median([s.measures["face_side"] for s in here])),
            "median_blur": float(np.median([s.measures["blur"] for s in here])),
            "median_blockiness": float(np.median([s.measures["blockiness"] for s in here])),
            "fpr": _rate((decisions == 1)[labels == 0]),
            "fnr": _rate((decisions == -1)[labels == 1]),
            "abstain_rate": _rate(decisions == 0),
            "calibration_error": calibration_error(after, labels),
            "mean_p_shift": float(np.abs(after - [s.p_before for s in here]).mean()),
            "rank_stability": _score_correlation(here),
            "reversals": reversals(here, policy)[0],
        }
        rows.append({key: _rounded(value) for key, value in row.items()})
    return rows


def _rate(flags: np.ndarray[Any, Any]) -> float:
    return float(flags.mean()) if flags.size else float("nan")


def _rounded(value: float) -> float | None:
    number = finite(value)
    return None if number is None else round(number, 4)


def calibration_error(probabilities: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Distance between mean probability and share of fakes: the calibration error in the large, for small samples."""
    return float(abs(probabilities.mean() - labels.mean()))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN when a side is constant."""
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return float("nan")
    return float(spearmanr(first, second).statistic)
