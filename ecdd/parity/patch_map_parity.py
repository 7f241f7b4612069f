"""Patch-map parity (E5.2): how far two runtimes' maps of the same tensors lie apart, relative to the logit spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float64]


class ParityError(ValueError):
    """Two outputs that cannot be compared; the message names both."""


@dataclass(frozen=True, eq=False)
class PatchParity:
    """Differences of two stacks of maps, picture by picture.

    A picture's spread is the standard deviation of its reference map: what a difference of logits has to be judged by.

    Attributes
    ----------
    largest : ndarray, float64, shape (N,)
        Largest |difference| of a cell / spread.
    mean : ndarray, float64, shape (N,)
        Mean |difference| / spread.
    rank_correlation : ndarray, float64, shape (N,)
        Spearman's over the cells; 1 for two constant maps.
    same_argmax : ndarray, bool, shape (N,)
        Whether both maps have their largest logit in the same cell.
    argmax_loss : ndarray, float64, shape (N,)
        How far the reference logit of the candidate's argmax cell lies below the largest / spread.
    per_cell : ndarray, float64, shape (rows, cols)
        Mean |difference| of each cell over the pictures, logit: a defect of the grid shows as a pattern.
    """

    largest: Floats
    mean: Floats
    rank_correlation: Floats
    same_argmax: NDArray[np.bool_]
    argmax_loss: Floats
    per_cell: Floats

    @property
    def worst(self) -> int:
        """Index of the picture with the largest difference."""
        return int(np.argmax(self.largest))


def patch_parity(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> PatchParity:
    """Compare two stacks of maps of the same tensors.

    Parameters
    ----------
    reference, candidate : ndarray, floating, shape (N, rows, cols)
        S5 of the same N tensors; N >= 1.

    Returns
    -------
    PatchParity
        One entry a picture.

    Raises
    ------
    ParityError
        Empty, of different shapes, or with a value that is not finite.
    """
    a, b = check_pair(reference, candidate, "patch map", 3)
    difference = np.abs(a - b)
    flat_a, flat_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    spread = flat_a.std(axis=1)
    scale = np.where(spread > 0, spread, 1.0)  # a constant map: differences stand in logits
    top = flat_b.argmax(axis=1)
    loss = (flat_a.max(axis=1) - flat_a[np.arange(len(a)), top]) / scale
    ranks = np.array([rank_correlation(x, y) for x, y in zip(flat_a, flat_b, strict=True)])
    return PatchParity(
        largest=difference.max(axis=(1, 2)) / scale,
        mean=difference.mean(axis=(1, 2)) / scale,
        rank_correlation=ranks,
        same_argmax=flat_a.argmax(axis=1) == top,
        argmax_loss=loss,
        per_cell=difference.mean(axis=0),
    )


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation; 1 where both are constant, 0 where only one is."""
    flat = np.ptp(first) == 0, np.ptp(second) == 0
    if any(flat):
        return float(all(flat))
    return float(spearmanr(first, second).statistic)


def check_pair(
    reference: NDArray[np.floating], candidate: NDArray[np.floating], what: str, dimensions: int
) -> tuple[Floats, Floats]:
    """Give both as float64, or refuse them.

    Raises
    ------
    ParityError
        Empty, of different shapes, of other dimensions, or with a value that is not finite.
    """
    if reference.shape != candidate.shape or reference.ndim != dimensions or not reference.size:
        msg = f"{what}: shapes {reference.shape} and {candidate.shape}; needed are two equal ones of {dimensions} axes"
        raise ParityError(msg)
    pair = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    for side, values in zip(("reference", "candidate"), pair, strict=True):
        if bad := int((~np.isfinite(values)).sum()):
            raise ParityError(f"{what} of the {side}: {bad} of {values.size} values are not finite")
    return pair
