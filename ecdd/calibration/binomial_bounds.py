"""Exact bounds of error rates, thresholds that keep them, and how many pictures a promise needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import MetricError

MOST_PICTURES = 10_000_000
_KEPT = 4096  # a threshold asks for the same few bounds again and again, and each is a root that scipy searches


@lru_cache(_KEPT)
def clopper_pearson_upper(errors: int, n: int, confidence: float) -> float:
    """One-sided exact upper bound of a binomial rate.

    Parameters
    ----------
    errors, n : int
        Observed errors of n trials, n >= 1.
    confidence : float
        Probability that the bound holds, e.g. 0.95.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    MetricError
        If n < 1 or errors is outside 0 … n.
    """
    from scipy.stats import beta

    _check(errors, n)
    return 1.0 if errors == n else float(beta.ppf(confidence, errors + 1, n - errors))


def clopper_pearson(errors: int, n: int, confidence: float) -> tuple[float, float]:
    """Two-sided exact interval of a binomial rate; parameters as in `clopper_pearson_upper`."""
    from scipy.stats import beta

    _check(errors, n)
    tail = (1 - confidence) / 2
    low = 0.0 if errors == 0 else float(beta.ppf(tail, errors, n - errors + 1))
    high = 1.0 if errors == n else float(beta.ppf(1 - tail, errors + 1, n - errors))
    return low, high


@dataclass(frozen=True)
class Rate:
    """Events of ``n`` and the exact two-sided interval; ``value`` is None where there was nothing to count."""

    events: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """Share."""
        return self.events / self.n if self.n else None


def rate(events: int, n: int, confidence: float) -> Rate:
    """A share with its interval; 0 of 0 spans everything."""
    return Rate(events, n, *(clopper_pearson(events, n, confidence) if n else (0.0, 1.0)))


def _check(errors: int, n: int) -> None:
    if n < 1 or not 0 <= errors <= n:
        msg = f"{errors} errors of {n} trials: nothing can be bounded"
        raise MetricError(msg)


@lru_cache(_KEPT)
def allowed_errors(n: int, limit: float, confidence: float) -> int:
    """Largest number of errors of n whose upper bound stays within the limit; -1 when not even zero does.

    It depends on n alone, so a threshold set by it from the sorted scores keeps the bound's guarantee.
    """
    low, high = -1, n - 1  # the bound rises with the errors: bisection
    while low < high:
        middle = (low + high + 1) // 2
        if clopper_pearson_upper(middle, n, confidence) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def learn_then_test(
    scores: NDArray[np.floating], grid: NDArray[np.floating], limit: float, confidence: float
) -> float | None:
    """Lowest threshold of a grid whose error rate is shown to be within the limit, tested from the safest one down.

    Fixed-sequence testing of the hypotheses "more than ``limit`` of this class score at or above t", with exact
    binomial p-values, stopping at the first that cannot be rejected: the family-wise error stays below 1 - confidence
    over the whole grid (Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test", 2021).

    Parameters
    ----------
    scores : ndarray, floating, shape (n,)
        Of one class; an error is a score at or above the threshold.
    grid : ndarray, floating, shape (m,)
        Thresholds, any order.
    limit, confidence : float
        Allowed rate, and probability that the promise holds.

    Returns
    -------
    float or None
        None where not even the highest threshold passes.
    """
    from scipy.stats import binom

    ordered, found = np.sort(np.asarray(scores, np.float64)), None
    for threshold in np.sort(np.asarray(grid, np.float64))[::-1]:
        errors = len(ordered) - int(np.searchsorted(ordered, threshold, side="left"))
        if binom.cdf(errors, len(ordered), limit) > 1 - confidence:
            break
        found = float(threshold)
    return found


def pictures_needed(rate: float, limit: float, confidence: float) -> int | None:
    """How many pictures of a class show a limit when the true rate is ``rate``: the expected errors are then allowed.

    Parameters
    ----------
    rate, limit : float
        True error rate, and the limit that its upper bound must keep.
    confidence : float
        Of the bound.

    Returns
    -------
    int or None
        None where the rate is not below the limit: no number of pictures suffices.
    """
    if rate >= limit:
        return None
    low, high = 1, 2
    while clopper_pearson_upper(min(math.ceil(rate * high), high), high, confidence) > limit:
        low, high = high, high * 2
        if high > MOST_PICTURES:
            return None
    while low < high:  # nearly monotone: the rounding of the expected errors can miss by a few pictures
        middle = (low + high) // 2
        if clopper_pearson_upper(min(math.ceil(rate * middle), middle), middle, confidence) <= limit:
            high = middle
        else:
            low = middle + 1
    return high


@lru_cache(_KEPT)
def least_auc(max_fpr: float, max_fnr: float, max_abstain_rate: float) -> float:
    """Least AUC at which both error limits and the abstain limit can hold together, with pictures without end.

    For scores that are normal in both classes with one spread: t_fake cuts ``max_fpr`` off the reals, t_real cuts
    ``max_fnr`` off the fakes, and what lies between abstains.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    t_fake = norm.ppf(1 - max_fpr)

    def excess(distance: float) -> float:
        t_real = distance + norm.ppf(max_fnr)
        real = max(norm.cdf(t_fake) - norm.cdf(t_real), 0.0)
        fake = max(norm.cdf(t_fake - distance) - max_fnr, 0.0)
        return float(max(real, fake) - max_abstain_rate)

    if excess(0.0) <= 0:
        return 0.5
    return float(norm.cdf(brentq(excess, 0.0, 20.0) / math.sqrt(2)))
