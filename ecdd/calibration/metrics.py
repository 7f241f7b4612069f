"""Proper scores, calibration error, separation, and their bootstrap intervals. Label 1 is fake, 0 is real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from ecdd.errors import EcddError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class MetricError(EcddError):
    """Scores or labels cannot be measured: not finite, empty, constant, or only one class."""


def checked(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Floats, Labels]:
    """Check scores and labels before any number is computed of them.

    Parameters
    ----------
    scores : ndarray, floating, shape (n,)
        Logits or probabilities.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.

    Returns
    -------
    tuple of ndarray
        Float64 scores and int64 labels.

    Raises
    ------
    MetricError
        If shapes differ, a score is not finite, a label is neither 0 nor 1, or a class is missing.
    """
    values, classes = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if values.ndim != 1 or values.shape != classes.shape:
        msg = f"scores {values.shape} and labels {classes.shape} must be two vectors of one length"
        raise MetricError(msg)
    if not np.isfinite(values).all():
        msg = f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite; nothing is measured of them"
        raise MetricError(msg)
    if set(np.unique(classes)) != {0, 1}:
        msg = f"labels must hold both 0 (real) and 1 (fake), found {sorted(set(classes.tolist()))}"
        raise MetricError(msg)
    return values, classes


def sigmoid(logits: NDArray[np.floating]) -> Floats:
    """Logistic function without overflow; float64, same shape."""
    x = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(x))
    return cast(Floats, np.where(x >= 0, 1 / (1 + small), small / (1 + small)))


def negative_log_likelihood(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Mean negative log-likelihood in nats, from logits (never from probabilities)."""
    x, y = checked(logits, labels)
    return float(np.mean(np.logaddexp(0, x) - y * x))


def brier(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Mean squared error of the probability, 0 to 1."""
    p, y = _checked_probabilities(probabilities, labels)
    return float(np.mean((p - y) ** 2))


Binning = Literal["equal_mass", "equal_width"]


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability curve.

    Attributes
    ----------
    n : int
        Pictures.
    mean_probability, share_fake : float
        Of the bin; where they differ, the calibration is wrong.
    low, high : float
        Clopper-Pearson interval of the share.
    """

    n: int
    mean_probability: float
    share_fake: float
    low: float
    high: float


def expected_calibration_error(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    bins: int = 10,
    binning: Binning = "equal_mass",
) -> float:
    """Expected calibration error of P(fake).

    Parameters
    ----------
    probabilities : ndarray, floating, shape (n,)
        P(fake), 0 to 1.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    bins : int
        Number of bins.
    binning : {"equal_mass", "equal_width"}
        Bins of equal count (equal widths leave bins empty on small sets), or of equal width on 0 … 1.

    Returns
    -------
    float
        Mean over pictures of |mean probability - share of fakes| of their bin, 0 to 1.
    """
    curve = reliability_curve(probabilities, labels, bins, binning)
    total = sum(part.n for part in curve)
    return sum(part.n * abs(part.mean_probability - part.share_fake) for part in curve) / total


def reliability_curve(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    bins: int = 10,
    binning: Binning = "equal_mass",
    confidence: float = 0.95,
) -> list[ReliabilityBin]:
    """Compare predicted probability and observed share of fakes, bin by bin.

    Parameters
    ----------
    probabilities, labels, bins, binning
        As in `expected_calibration_error`.
    confidence : float
        Of the two-sided Clopper-Pearson intervals.

    Returns
    -------
    list of ReliabilityBin
        By rising probability; empty bins are left out.
    """
    from scipy.stats import beta

    p, y = _checked_probabilities(probabilities, labels)
    order = np.argsort(p, kind="stable")
    if binning == "equal_mass":
        parts = np.array_split(order, min(bins, len(order)))
    else:
        edges = np.searchsorted(p[order], np.linspace(0, 1, bins + 1)[1:-1], side="left")
        parts = np.split(order, edges)
    tail, curve = (1 - confidence) / 2, []
    for part in parts:
        n = len(part)
        if not n:
            continue
        fakes = int(y[part].sum())
        low = 0.0 if fakes == 0 else float(beta.ppf(tail, fakes, n - fakes + 1))
        high = 1.0 if fakes == n else float(beta.ppf(1 - tail, fakes + 1, n - fakes))
        curve.append(ReliabilityBin(n, float(p[part].mean()), fakes / n, low, high))
    return curve


def auc(scores: NDArray[np.floating], labels: NDArray[np.integer], weights: Floats | None = None) -> float:
    """Area under the ROC curve: weighted share of (fake, real) pairs where the fake scores higher, ties half.

    Parameters
    ----------
    scores : ndarray, floating, shape (n,)
        Larger means more likely fake.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    weights : ndarray, float64, shape (n,), or None
        Weight of each picture; None counts all alike.

    Returns
    -------
    float
        0 to 1.
    """
    x, y = checked(scores, labels)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    values, index = np.unique(x, return_inverse=True)
    real = np.bincount(index, weights=w * (y == 0), minlength=len(values))
    fake = np.bincount(index, weights=w * (y == 1), minlength=len(values))
    below = np.cumsum(real) - real
    return float(np.sum(fake * (below + real / 2)) / (real.sum() * fake.sum()))


def bootstrap_interval(
    measure: Callable[[NDArray[np.int64]], float],
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    *,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a metric; resamples within each class, whole groups at a time.

    Parameters
    ----------
    measure : callable
        Takes indices (with repeats) into the data, returns the metric.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    groups : ndarray, integer, shape (n,), or None
        Variants of one picture share a group, so that they are drawn together; None: each its own.
    seed, resamples, confidence : int, int, float
        Random seed, number of resamples, coverage.

    Returns
    -------
    tuple of float
        Lower and upper end.
    """
    y = np.asarray(labels, np.int64)
    g = np.arange(len(y)) if groups is None else np.asarray(groups, np.int64)
    members = {int(k): np.flatnonzero(g == k) for k in np.unique(g)}
    by_class = [np.unique(g[y == label]) for label in (0, 1)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = [rng.choice(keys, len(keys)) for keys in by_class]
        values.append(measure(np.concatenate([members[int(k)] for keys in drawn for k in keys])))
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _checked_probabilities(p: NDArray[np.floating], y: NDArray[np.integer]) -> tuple[Floats, Labels]:
    values, classes = checked(p, y)
    if values.min() < 0 or values.max() > 1:
        msg = f"probabilities span [{values.min():.4g}, {values.max():.4g}], allowed [0, 1]; were logits passed?"
        raise MetricError(msg)
    return values, classes
