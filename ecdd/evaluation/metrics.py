"""Metrics at the operating point, with intervals. Only what was scored is measured; everything else is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.binomial_bounds import Rate, rate
from ecdd.calibration.metrics import Floats, Labels, MetricError, expected_calibration_error
from ecdd.contract.model_sections import OperatingPoint
from ecdd.evaluation.score_table import OUTCOMES, SCORED

Row = Mapping[str, Any]
_BINS: Final = 10
_SMALLEST_SHARE: Final = 1e-4
NO_CODE: Final = "none"


@dataclass(frozen=True)
class AtOperatingPoint:
    """What a set of rows shows.

    Attributes
    ----------
    fpr, fnr : Rate
        Reals called fake, fakes called real, of those that reached the model.
    abstain_real, abstain_fake : Rate
        Abstentions of all that were scored, whatever the reason.
    abstain_reasons : mapping of str to int
        Reason codes of the abstentions; a picture may have several.
    outcomes : mapping of str to int
        Every row in exactly one.
    """

    fpr: Rate
    fnr: Rate
    abstain_real: Rate
    abstain_fake: Rate
    abstain_reasons: Mapping[str, int]
    outcomes: Mapping[str, int]

    @property
    def n_expected(self) -> int:
        """Rows."""
        return sum(self.outcomes.values())


def count_outcomes(rows: Iterable[Row], n_expected: int) -> dict[str, int]:
    """Count rows by outcome.

    Parameters
    ----------
    rows : iterable of mapping
        Of a score table.
    n_expected : int
        Rows that there must be.

    Returns
    -------
    dict of str to int
        All outcomes, zeros too.

    Raises
    ------
    MetricError
        The counts do not add up to ``n_expected``: something was dropped or stands twice.
    """
    found = Counter(row["outcome"] for row in rows)
    counts = {name: found.pop(name, 0) for name in OUTCOMES}
    if found or sum(counts.values()) != n_expected:
        msg = f"{sum(counts.values())} rows have a known outcome, expected {n_expected}; nothing is measured"
        raise MetricError(msg)
    return counts


def reached_model(rows: Iterable[Row]) -> list[Row]:
    """Rows in scope that were scored and have a probability: only these may enter an error rate."""
    return [row for row in in_scope(rows) if row["outcome"] == SCORED and row["probability"] is not None]


def in_scope(rows: Iterable[Row]) -> list[Row]:
    """Rows of faces with a label: what "on faces" speaks of."""
    return [row for row in rows if row["scope"] == "face" and row["label"] is not None]


def scores_and_labels(rows: Iterable[Row]) -> tuple[Floats, Labels]:
    """Probabilities and labels of the rows that reached the model.

    Raises
    ------
    MetricError
        A probability is not finite, or all are the same: a detector that says one number measures nothing.
    """
    chosen = reached_model(rows)
    p = np.array([row["probability"] for row in chosen], np.float64)
    refuse_degenerate(p)
    return p, np.array([row["label"] for row in chosen], np.int64)


def refuse_degenerate(scores: NDArray[np.floating]) -> None:
    """Refuse scores of which every metric would be a number without a meaning."""
    if not len(scores):
        msg = "no picture reached the model; nothing is measured"
        raise MetricError(msg)
    if not np.isfinite(scores).all():
        msg = f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite; nothing is measured of them"
        raise MetricError(msg)
    if len(scores) > 1 and float(np.ptp(scores)) == 0:
        msg = f"all {len(scores)} scores are {scores[0]:.6g}; a constant score measures nothing"
        raise MetricError(msg)


def at_operating_point(rows: Sequence[Row], point: OperatingPoint) -> AtOperatingPoint:
    """Measure rows at a contract's thresholds.

    Parameters
    ----------
    rows : sequence of mapping
        Of one transform.
    point : OperatingPoint
        Thresholds and confidence.

    Returns
    -------
    AtOperatingPoint
        Rates, reasons and counts.
    """
    reached, c = reached_model(rows), point.confidence
    real = [row["probability"] for row in reached if row["label"] == 0]
    fake = [row["probability"] for row in reached if row["label"] == 1]
    scored = [row for row in in_scope(rows) if row["outcome"] == SCORED]
    abstained = [row for row in scored if row["verdict"] == "abstain"]
    share = [
        rate(sum(row["label"] == k for row in abstained), sum(row["label"] == k for row in scored), c) for k in (0, 1)
    ]
    reasons = Counter(code for row in abstained for code in (row["reason_codes"].split() or [NO_CODE]))
    return AtOperatingPoint(
        fpr=rate(sum(p >= point.t_fake for p in real), len(real), c),
        fnr=rate(sum(p <= point.t_real for p in fake), len(fake), c),
        abstain_real=share[0],
        abstain_fake=share[1],
        abstain_reasons=dict(sorted(reasons.items())),
        outcomes=dict(sorted(Counter(row["outcome"] for row in rows).items())),
    )


def accuracy_on_faces(rows: Sequence[Row], confidence: float) -> Rate:
    """Share of right labels among decided faces. An abstention is neither right nor wrong, and no face is no face."""
    decided = [row for row in reached_model(rows) if row["verdict"] != "abstain"]
    right = sum((row["verdict"] == "fake") == (row["label"] == 1) for row in decided)
    return rate(right, len(decided), confidence)


def tpr_at_fpr(scores: NDArray[np.floating], labels: NDArray[np.integer], fpr: float) -> float:
    """Share of fakes above the lowest threshold at which at most ``fpr`` of the reals lie.

    Parameters
    ----------
    scores, labels : ndarray, shape (n,)
        Both classes.
    fpr : float
        Allowed share of reals at or above the threshold.

    Returns
    -------
    float
        0 to 1.
    """
    from ecdd.calibration.metrics import checked

    p, y = checked(scores, labels)
    refuse_degenerate(p)
    real = np.sort(p[y == 0])[::-1]
    allowed = int(np.floor(fpr * len(real) + 1e-9))
    threshold = -np.inf if allowed >= len(real) else real[allowed]
    return float((p[y == 1] > threshold).mean())


def calibration_error(rows: Iterable[Row]) -> float:
    """ECE of 10 equal-mass bins over the rows that reached the model."""
    return expected_calibration_error(*scores_and_labels(rows))


def kolmogorov_smirnov(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Largest distance of two empirical distributions, 0 to 1."""
    for values in (before, after):
        if not len(values) or not np.isfinite(values).all():
            msg = "a shift needs finite scores on both sides"
            raise MetricError(msg)
    grid = np.concatenate([before, after])
    low, high = (np.searchsorted(np.sort(v), grid, side="right") / len(v) for v in (before, after))
    return float(np.abs(low - high).max())


def population_stability(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """PSI over ten bins of equal mass of ``before``; an empty bin counts as a share of 0.0001."""
    kolmogorov_smirnov(before, after)  # the same demands
    edges = np.unique(np.quantile(before, np.linspace(0, 1, _BINS + 1)[1:-1]))
    shares = []
    for values in (before, after):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts / len(values), _SMALLEST_SHARE))
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
