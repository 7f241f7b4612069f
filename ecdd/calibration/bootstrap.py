"""Bootstrap intervals of all calibration metrics at once: sorted once, then weighted sums for every resample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import Floats, Labels, checked, sigmoid

RESAMPLES = 2000
BINS = 10


@dataclass(frozen=True)
class Interval:
    """An estimate and its percentile bootstrap interval."""

    estimate: float
    low: float
    high: float


def resampled_weights(
    labels: Labels, groups: NDArray[np.integer] | None, resamples: int, seed: int
) -> Iterator[Floats]:
    """Draw whole groups with replacement, within each class; yields how often each picture was drawn.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        1 fake, 0 real.
    groups : ndarray of int, shape (n,), or None
        Near-duplicates share a group; a group that holds both classes is drawn with its first member's.
    resamples, seed : int, int
        How many, and the generator's seed.

    Yields
    ------
    ndarray of float64, shape (n,)
        Weights, whole numbers.
    """
    number = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(number.max()) + 1
    kind = np.zeros(count, np.int64)
    kind[number[::-1]] = labels[::-1]
    members = [np.flatnonzero(kind == value) for value in (0, 1)]
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = np.concatenate([keys[rng.integers(0, len(keys), len(keys))] for keys in members if len(keys)])
        yield np.bincount(drawn, minlength=count).astype(np.float64)[number]


def calibration_intervals(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Measure AUC, NLL, Brier score and two calibration errors with their bootstrap intervals.

    Parameters
    ----------
    logits : ndarray, floating, shape (n,)
        Calibrated logits.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    groups : ndarray of int, shape (n,), or None
        Near-duplicates, drawn together.
    resamples, confidence, seed : int, float, int
        Of the bootstrap.

    Returns
    -------
    dict of str to Interval
        ``auc``, ``nll``, ``brier``, ``ece_equal_mass`` and ``ece_equal_width`` (10 bins each, whose edges stay those
        of the whole set). Time is linear in n and in ``resamples``; memory is a few vectors of n.

    Raises
    ------
    MetricError
        If a class is missing or a logit is not finite.
    """
    x, y = checked(logits, labels)
    order = np.argsort(x, kind="stable")
    sorted_scores = _Sorted(x[order], y[order])
    ones = np.ones(len(x))
    estimate = sorted_scores.measure(ones)
    drawn = np.array(
        [sorted_scores.measure(weights[order]) for weights in resampled_weights(y, groups, resamples, seed)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return {name: Interval(float(estimate[k]), float(low[k]), float(high[k])) for k, name in enumerate(_Sorted.NAMES)}


class _Sorted:
    """Scores in rising order, with everything that does not depend on the weights."""

    NAMES = ("auc", "nll", "brier", "ece_equal_mass", "ece_equal_width")

    def __init__(self, x: Floats, y: Labels) -> None:
        self._fake, self._real = (y == 1).astype(np.float64), (y == 0).astype(np.float64)
        p = sigmoid(x)
        self._p, self._loss, self._square = p, np.logaddexp(0, x) - y * x, (p - y) ** 2
        self._ties = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
        self._mass = _starts_of_equal_mass(len(x))
        self._width = np.unique(np.searchsorted(p, np.linspace(0, 1, BINS + 1)[:-1], side="left").clip(0, len(p) - 1))

    def measure(self, w: Floats) -> tuple[float, ...]:
        fake, real, total = w * self._fake, w * self._real, w.sum()
        fakes, reals = np.add.reduceat(fake, self._ties), np.add.reduceat(real, self._ties)
        below = np.cumsum(reals) - reals
        area = float(fakes @ (below + reals / 2) / (fakes.sum() * reals.sum()))
        gap = w * self._p - fake
        errors = (float(np.abs(np.add.reduceat(gap, starts)).sum() / total) for starts in (self._mass, self._width))
        return area, float(w @ self._loss / total), float(w @ self._square / total), *errors


def _starts_of_equal_mass(n: int) -> NDArray[np.int64]:
    sizes = [len(part) for part in np.array_split(np.arange(n), min(BINS, n))]
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
