"""Parity of pooled logits (S6), before any calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecdd.parity.parity_metric import ParityLimits, ParityMetric, check_pair, held, metric, spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PooledParity:
    """Differences of N pooled logits; every number is NaN where a logit is not finite or N is 0.

    Attributes
    ----------
    n, not_finite : int
        Logits, and how many pairs are not finite.
    max_difference, mean_difference, bias : float
        Of |candidate - reference|, and the mean of candidate - reference; logit.
    rank_correlation : float
        Spearman over the samples; NaN for fewer than two, or equal ones.
    distinct : tuple of (int, int)
        Different values of reference and candidate.
    worst : int
        Sample with the largest difference; -1 where N is 0.
    """

    n: int
    not_finite: int
    max_difference: float
    mean_difference: float
    bias: float
    rank_correlation: float
    distinct: tuple[int, int]
    worst: int

    def metrics(self, limits: ParityLimits | None, names: Sequence[str] = (), group: str = "") -> list[ParityMetric]:
        """Hold the largest difference to its limit; parameters as in `PatchParity.metrics`."""
        worst = names[self.worst] if 0 <= self.worst < len(names) else ""
        limit = None if limits is None else limits.pooled
        first = f"{group}pooled."
        return [
            metric(f"{first}max_difference", self.max_difference, "logit", n=self.n, worst=worst, **held(limit)),
            metric(f"{first}mean_difference", self.mean_difference, "logit", n=self.n),
            metric(f"{first}bias", self.bias, "logit", n=self.n),
            metric(f"{first}rank_correlation", self.rank_correlation, "Spearman", n=self.n),
            metric(f"{first}distinct_reference", self.distinct[0], "value", n=self.n),
            metric(f"{first}distinct_candidate", self.distinct[1], "value", n=self.n),
        ]


def pooled_parity(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> PooledParity:
    """Compare pooled logits.

    Parameters
    ----------
    reference, candidate : ndarray, float, shape (N,)
        S6 of the same samples.

    Returns
    -------
    PooledParity
        N may be 0, and logits may be NaN: both fail when they are held to limits.

    Raises
    ------
    ParityError
        For two shapes, or another number of axes.
    """
    check_pair(reference, candidate, 1, "pooled logits")
    one, other = (np.asarray(row, np.float64) for row in (reference, candidate))
    distinct = (len(np.unique(reference)), len(np.unique(candidate)))
    bad = ~(np.isfinite(one) & np.isfinite(other))
    if not one.size or bad.any():
        worst, nothing = (int(bad.argmax()) if one.size else -1), float("nan")
        return PooledParity(one.size, int(bad.sum()), nothing, nothing, nothing, nothing, distinct, worst)
    signed = other - one
    apart = np.abs(signed)
    mean, bias = float(apart.mean()), float(signed.mean())
    worst = int(apart.argmax())
    return PooledParity(one.size, 0, float(apart[worst]), mean, bias, spearman(one, other), distinct, worst)
