"""Probability parity (E5.1): what is left of a difference after each side's own calibration, and decisions it turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.inference.calibration import AppliedCalibration, probability
from ecdd.parity.patch_map_parity import Floats, check_pair, rank_correlation


@dataclass(frozen=True)
class Side:
    """How one side turns a pooled logit into a decision.

    Attributes
    ----------
    calibration : AppliedCalibration
        Fitted on that side's own logits.
    t_real, t_fake : float
        Thresholds: real up to the one, fake from the other on, abstain between.
    """

    calibration: AppliedCalibration
    t_real: float
    t_fake: float

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        """Calibrated probabilities; shape of `logits`."""
        return np.array([probability(self.calibration.logit(float(logit))) for logit in logits])

    def decisions(self, probabilities: Floats) -> NDArray[np.int8]:
        """Decide: -1 real, 0 abstain, 1 fake."""
        return ((probabilities >= self.t_fake).astype(np.int8) - (probabilities <= self.t_real)).astype(np.int8)


@dataclass(frozen=True, eq=False)
class ProbabilityParity:
    """Differences of calibrated probabilities and the decisions that they turn.

    Attributes
    ----------
    difference : ndarray, float64, shape (N,)
        Candidate minus reference.
    rank_correlation : float
        Spearman's over the pictures.
    flips : ndarray, bool, shape (N,)
        Pictures whose decision differs.
    opposite : ndarray, bool, shape (N,)
        Pictures that one side calls real and the other fake.
    near : int
        Pictures whose reference probability lies within the largest |difference| of a threshold: those that could flip.
    distinct : tuple of int
        Distinct probabilities of reference and candidate: an integer sigmoid leaves at most 256.
    """

    difference: Floats
    rank_correlation: float
    flips: NDArray[np.bool_]
    opposite: NDArray[np.bool_]
    near: int
    distinct: tuple[int, int]

    @property
    def largest(self) -> float:
        """Largest |difference|."""
        return float(np.abs(self.difference).max())

    @property
    def worst(self) -> int:
        """Index of the picture with the largest |difference|."""
        return int(np.argmax(np.abs(self.difference)))

    @property
    def flip_rate(self) -> float:
        """Share of pictures whose decision differs."""
        return float(self.flips.mean())


def probability_parity(
    reference: NDArray[np.floating], candidate: NDArray[np.floating], sides: tuple[Side, Side]
) -> ProbabilityParity:
    """Compare what two sides make of their own pooled logits.

    Parameters
    ----------
    reference, candidate : ndarray, floating, shape (N,)
        S6 of the same pictures.
    sides : pair of Side
        Calibration and thresholds of reference and candidate.

    Returns
    -------
    ProbabilityParity
        One entry a picture.

    Raises
    ------
    ParityError
        Empty, of different shapes, or with a value that is not finite.
    """
    logits = check_pair(reference, candidate, "pooled logit", 1)
    p, q = (side.probabilities(values) for side, values in zip(sides, logits, strict=True))
    first, second = sides[0].decisions(p), sides[1].decisions(q)
    largest = float(np.abs(q - p).max())
    distance = np.minimum(np.abs(p - sides[0].t_real), np.abs(p - sides[0].t_fake))
    return ProbabilityParity(
        difference=q - p,
        rank_correlation=rank_correlation(p, q),
        flips=first != second,
        opposite=first * second == -1,
        near=int((distance <= largest).sum()),
        distinct=(len(np.unique(p)), len(np.unique(q))),
    )
