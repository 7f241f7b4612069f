"""A measured difference, the limit that it is held to, and what follows: verdicts are functions of stored numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecdd.evidence.verdicts import finite, judge_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.schema import PolicyContract
    from ecdd.evidence.records import Operator, Result


class ParityError(ValueError):
    """Two things that cannot be compared, or nothing to compare: bad input, not a difference."""


@dataclass(frozen=True)
class ParityMetric:
    """One number and its limit.

    Attributes
    ----------
    name : str
        ``<class>.<level>.<what>``, for example ``same_tensor.patch.max_relative_difference``.
    value : float or None
        None stands for NaN, infinite or missing; held to a limit it fails.
    unit : str
        Of value and limit.
    limit : float or None
        None where the number is only reported.
    op : str
        ``value op limit`` must hold.
    n : int
        Samples behind it; 0 fails.
    worst : str
        Sample that it was measured on, where it is one sample's.
    clause : str
        Contract key of the limit.
    """

    name: str
    value: float | int | None
    unit: str
    limit: float | None = None
    op: Operator = "<="
    n: int = 0
    worst: str = ""
    clause: str = ""

    @property
    def verdict(self) -> Result | None:
        """``pass`` or ``fail``; None for a number without a limit."""
        return None if self.limit is None else judge_metric(self.value, self.op, self.limit, self.n)

    def stored(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {**asdict(self), "verdict": self.verdict}


def metric(name: str, value: object, unit: str, **more: Any) -> ParityMetric:  # noqa: ANN401 - fields of `ParityMetric`
    """Make a metric of any scalar; what is not a finite number becomes None."""
    return ParityMetric(name, finite(value), unit, **more)


def overall(metrics: Sequence[ParityMetric]) -> Result:
    """Verdict of all metrics: ``fail`` for any that fails, and where none has a limit."""
    judged = [one.verdict for one in metrics if one.verdict is not None]
    return "pass" if judged and all(verdict == "pass" for verdict in judged) else "fail"


@dataclass(frozen=True)
class ParityLimits:
    """Limits of one comparison; what a pair must keep is policy, and so in the contract.

    Attributes
    ----------
    patch : float
        Max |difference| of a patch logit / spread of the reference map.
    pooled : float
        Max |difference| of the pooled logit, logit.
    probability : float
        Max |difference| of P(fake).
    flips : float
        Share of decisions that change.
    clauses : tuple of str
        Contract keys, in the same order.
    """

    patch: float
    pooled: float
    probability: float
    flips: float
    clauses: tuple[str, str, str, str]

    @classmethod
    def quantised(cls, policy: PolicyContract) -> ParityLimits:
        """What the shipped file must keep against the float reference."""
        part = policy.quantization
        names = ("max_patch_difference", "max_pooled_difference", "max_probability_difference", "max_decision_flips")
        patch, pooled, probability, flips = (f"quantization.{name}" for name in names)
        return cls(
            patch=part.max_patch_difference,
            pooled=part.max_pooled_difference,
            probability=part.max_probability_difference,
            flips=part.max_decision_flips,
            clauses=(patch, pooled, probability, flips),
        )

    @classmethod
    def exact(cls, policy: PolicyContract) -> ParityLimits:
        """What two float files of one model must keep: the tolerances of S5, S6 and S7, and no flip at all."""
        values = (policy.patch_grid.tolerance_s5, policy.pooling.tolerance_s6, policy.calibration.tolerance_s7, 0.0)
        keys = ("patch_grid.tolerance_s5", "pooling.tolerance_s6", "calibration.tolerance_s7", "none may flip")
        return cls(*values, clauses=keys)


def spearman(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float:
    """Rank correlation of two equally long rows of numbers; ties share the mean of their ranks.

    Parameters
    ----------
    reference, candidate : ndarray, float, shape (n,)
        Finite.

    Returns
    -------
    float
        In [-1, 1]; NaN where one of them is constant or has fewer than two values.
    """
    if reference.size < 2:
        return float("nan")
    one, other = (_ranks(np.asarray(row, np.float64)) for row in (reference, candidate))
    one, other = one - one.mean(), other - other.mean()
    length = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / length if length else float("nan")


def _ranks(row: NDArray[np.float64]) -> NDArray[np.float64]:
    _, places, counts = np.unique(row, return_inverse=True, return_counts=True)
    last = np.cumsum(counts, dtype=np.float64)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks


def check_pair(reference: NDArray[Any], candidate: NDArray[Any], axes: int, what: str) -> None:
    """Refuse two arrays that do not stand for the same samples.

    Raises
    ------
    ParityError
        For another shape, or another number of axes than `axes`.
    """
    if reference.shape != candidate.shape or reference.ndim != axes:
        msg = (
            f"{what}: the reference has shape {reference.shape}, the candidate {candidate.shape}; "
            f"the same {axes} axes are needed"
        )
        raise ParityError(msg)
