"""Bootstrap intervals of what has no exact one: TPR at a fixed FPR, calibration error, shift, paired increases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.bootstrap import Interval, resampled_weights
from ecdd.calibration.metrics import Floats, Labels, MetricError, expected_calibration_error
from ecdd.evaluation.metrics import Row, reached_model, tpr_at_fpr

RESAMPLES: Final = 300
_SEED: Final = 6
Indices = NDArray[np.intp]


def interval(
    measure: Callable[[Indices], float], labels: Labels, confidence: float, resamples: int = RESAMPLES
) -> Interval:
    """Percentile bootstrap over pictures, drawn within each class.

    Parameters
    ----------
    measure : callable
        From indices of pictures, repeated as they were drawn, to a number.
    labels : ndarray of int64, shape (n,)
        1 fake, 0 real.
    confidence : float
        Of the interval.
    resamples : int
        How many; the seed is fixed.

    Returns
    -------
    Interval
        The estimate is of the pictures as they are.

    Raises
    ------
    MetricError
        There is no picture, or the measure cannot be had of them.
    """
    if not len(labels):
        msg = "no picture reached the model; nothing is measured"
        raise MetricError(msg)
    everything = np.arange(len(labels))
    samples = resampled_weights(labels, None, resamples, _SEED)
    drawn = [measure(np.repeat(everything, weights.astype(np.int64))) for weights in samples]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(measure(everything)), float(low), float(high))


def separation(rows: Sequence[Row], fpr: float, confidence: float) -> dict[str, Interval]:
    """TPR at a fixed FPR and calibration error of rows that reached the model.

    Parameters
    ----------
    rows : sequence of mapping
        Of one transform.
    fpr : float
        Allowed share of reals above the threshold.
    confidence : float
        Of the intervals.

    Returns
    -------
    dict of str to Interval
        ``tpr_at_fpr`` and ``ece``; empty where one class alone reached the model: neither is defined then.
    """
    chosen = reached_model(rows)
    p: Floats = np.array([row["probability"] for row in chosen], np.float64)
    y: Labels = np.array([row["label"] for row in chosen], np.int64)
    if len(set(y.tolist())) < 2 or float(np.ptp(p)) == 0:
        return {}
    return {
        "tpr_at_fpr": interval(lambda at: _unless_constant(p[at], y[at], fpr), y, confidence),
        "ece": interval(lambda at: expected_calibration_error(p[at], y[at]), y, confidence),
    }


def _unless_constant(p: Floats, y: Labels, fpr: float) -> float:
    """A resample may hold one number alone; nothing lies above it then."""
    return tpr_at_fpr(p, y, fpr) if float(np.ptp(p)) > 0 else 0.0
