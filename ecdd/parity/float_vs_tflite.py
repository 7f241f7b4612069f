"""Parity of probabilities (S7) and of the decisions that follow (S8): float reference against a TFLite file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecdd.parity.parity_metric import ParityError, ParityLimits, ParityMetric, check_pair, held, metric
from ecdd.parity.pooled_logit_parity import pooled_parity

if TYPE_CHECKING:
    from numpy.typing import NDArray

Label = Literal["real", "fake", "abstain"]
Band = tuple[float, float]  # t_real, t_fake


@dataclass(frozen=True)
class Flip:
    """A decision that changed: sample, both probabilities and both labels."""

    sample: int
    reference: float
    candidate: float
    was: Label
    became: Label


@dataclass(frozen=True)
class ProbabilityParity:
    """Differences of N probabilities; every number is NaN where one is not finite or N is 0.

    Attributes
    ----------
    n : int
        Samples.
    max_difference, mean_difference : float
        Of |candidate - reference|.
    rank_correlation : float
        Spearman over the samples.
    distinct : tuple of (int, int)
        Different values of reference and candidate: a quantised sigmoid gives at most 256.
    flips : tuple of Flip, or None
        Decisions that changed; None where no thresholds are known.
    near : int or None
        Reference probabilities that lie within the largest difference of a threshold: those that could have flipped.
    worst : int
        Sample with the largest difference; -1 where N is 0.
    """

    n: int
    max_difference: float
    mean_difference: float
    rank_correlation: float
    distinct: tuple[int, int]
    flips: tuple[Flip, ...] | None
    near: int | None
    worst: int

    @property
    def flip_share(self) -> float:
        """Flips / N; NaN where nothing was decided."""
        return float("nan") if self.flips is None or not self.n else len(self.flips) / self.n

    def metrics(self, limits: ParityLimits | None, names: Sequence[str] = (), group: str = "") -> list[ParityMetric]:
        """Hold difference and flips to their limits; parameters as in `PatchParity.metrics`."""
        worst = names[self.worst] if 0 <= self.worst < len(names) else ""
        first = f"{group}probability."
        nearness, turned = (None, None) if limits is None else (limits.probability, limits.flips)
        rows = [
            metric(
                f"{first}max_difference", self.max_difference, "probability", n=self.n, worst=worst, **held(nearness)
            ),
            metric(f"{first}mean_difference", self.mean_difference, "probability", n=self.n),
            metric(f"{first}rank_correlation", self.rank_correlation, "Spearman", n=self.n),
            metric(f"{first}distinct_reference", self.distinct[0], "value", n=self.n),
            metric(f"{first}distinct_candidate", self.distinct[1], "value", n=self.n),
        ]
        if self.flips is not None:
            changed = [names[flip.sample] for flip in self.flips if flip.sample < len(names)]
            shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
            rows += [
                metric(f"{first}decision_flips", self.flip_share, "share", n=self.n, worst=shown, **held(turned)),
                metric(f"{first}near_a_threshold", self.near, "sample", n=self.n),
            ]
        return rows


def label_of(probability: float, band: Band) -> Label:
    """S8 of one probability: fake from ``t_fake`` on, real up to ``t_real``, else abstain."""
    if probability >= band[1]:
        return "fake"
    return "real" if probability <= band[0] else "abstain"


def probability_parity(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    band: Band | None = None,
    candidate_band: Band | None = None,
) -> ProbabilityParity:
    """Compare probabilities, and decisions where thresholds are known.

    Parameters
    ----------
    reference, candidate : ndarray, float, shape (N,)
        P(fake) of the same samples, in [0, 1], each by the calibration of its own file.
    band : (t_real, t_fake), optional
        Thresholds of the reference.
    candidate_band : (t_real, t_fake), optional
        Thresholds of the candidate, which a recalibrated file has of its own; the reference's where not given.

    Returns
    -------
    ProbabilityParity
        N may be 0, and values may be NaN: both fail when they are held to limits.

    Raises
    ------
    ParityError
        For two shapes, a number outside [0, 1] (logits passed as probabilities), or thresholds that are not ordered.
    """
    check_pair(reference, candidate, 1, "probabilities")
    one, other = (np.asarray(row, np.float64) for row in (reference, candidate))
    for side, row in (("reference", one), ("candidate", other)):
        if ((row < 0) | (row > 1)).any():
            msg = f"probabilities of the {side} reach {row[np.abs(row - 0.5).argmax()]:g}; P(fake) is in [0, 1]"
            raise ParityError(msg)
    bands = _bands(band, candidate_band)
    found = pooled_parity(reference, candidate)
    flips, near = None, None
    if bands is not None:
        pairs = enumerate(zip(one, other, strict=True))
        labelled = [
            Flip(k, float(a), float(b), label_of(float(a), bands[0]), label_of(float(b), bands[1]))
            for k, (a, b) in pairs
        ]
        flips = tuple(flip for flip in labelled if flip.was != flip.became)
        to_threshold = np.abs(one[:, None] - np.asarray(bands[0])).min(axis=1)
        near = int((to_threshold <= found.max_difference).sum())
    correlation, distinct = found.rank_correlation, found.distinct
    return ProbabilityParity(
        found.n, found.max_difference, found.mean_difference, correlation, distinct, flips, near, found.worst
    )


def _bands(band: Band | None, other: Band | None) -> tuple[Band, Band] | None:
    if band is None:
        if other is not None:
            raise ParityError("the candidate has thresholds and the reference has none")
        return None
    found = (band, other or band)
    for t_real, t_fake in found:
        if not 0 < t_real < t_fake < 1:
            msg = f"thresholds t_real {t_real:g} and t_fake {t_fake:g}; 0 < t_real < t_fake < 1 is needed"
            raise ParityError(msg)
    return found
