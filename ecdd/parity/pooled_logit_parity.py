"""Pooled-logit parity (E5.3), before calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.parity.patch_map_parity import Floats, check_pair, rank_correlation


@dataclass(frozen=True, eq=False)
class PooledParity:
    """Differences of pooled logits.

    Attributes
    ----------
    difference : ndarray, float64, shape (N,)
        Candidate minus reference, logit.
    rank_correlation : float
        Spearman's over the pictures.
    """

    difference: Floats
    rank_correlation: float

    @property
    def largest(self) -> float:
        """Largest |difference|, logit."""
        return float(np.abs(self.difference).max())

    @property
    def offset(self) -> float:
        """Mean difference, logit: what recalibration can take away."""
        return float(self.difference.mean())

    @property
    def worst(self) -> int:
        """Index of the picture with the largest |difference|."""
        return int(np.argmax(np.abs(self.difference)))


def pooled_parity(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> PooledParity:
    """Compare pooled logits of the same pictures.

    Parameters
    ----------
    reference, candidate : ndarray, floating, shape (N,)
        S6.

    Returns
    -------
    PooledParity
        One entry a picture.

    Raises
    ------
    ParityError
        Empty, of different shapes, or with a value that is not finite.
    """
    a, b = check_pair(reference, candidate, "pooled logit", 1)
    return PooledParity(b - a, rank_correlation(a, b))
