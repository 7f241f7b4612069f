"""A measured difference, the limit that it is held to, and what follows: verdicts are functions of stored numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecdd.errors import EcddError
from ecdd.evidence.verdicts import finite, judge_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.schema import PolicyContract
    from ecdd.evidence.records import Operator, Result


class ParityError(EcddError):
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
class Limit:
    """A limit and the contract key that sets it."""

    value: float
    clause: str
    op: Operator = "<="


def held(limit: Limit | None) -> dict[str, Any]:
    """Fields of `ParityMetric` for a limit; none for a number that is only reported."""
    return {} if limit is None else {"limit": limit.value, "op": limit.op, "clause": limit.clause}


@dataclass(frozen=True)
class ParityLimits:
    """Limits of one comparison; what a pair must keep is policy, and so in the contract.

    Attributes
    ----------
    cell : Limit or None
        Max |difference| of a patch logit / spread of the reference maps.
    mean : Limit or None
        Largest mean |difference| of a map / spread.
    argmax_loss : Limit or None
        How much less the reference says of the candidate's largest cell than of its own / spread.
    cell_correlation : Limit or None
        Smallest Spearman correlation over the cells of a map.
    pooled : Limit
        Max |difference| of the pooled logit, logit.
    probability : Limit
        Max |difference| of P(fake).
    flips : Limit
        Share of decisions that change.
    """

    cell: Limit | None
    mean: Limit | None
    argmax_loss: Limit | None
    cell_correlation: Limit | None
    pooled: Limit
    probability: Limit
    flips: Limit

    @classmethod
    def quantised(cls, policy: PolicyContract, *, integers: bool) -> ParityLimits:
        """What a shipped file must keep against the float reference.

        Parameters
        ----------
        policy : PolicyContract
            With the section ``quantization``.
        integers : bool
            Whether the file's convolutions compute in integers. A cell that saw an edge of more than 127 levels then
            loses what 8 bits cannot hold, so that single cells move; the largest difference is reported, and mean,
            ranks and the largest cell are what holds.
        """
        part = policy.quantization

        def limit(name: str, op: Operator = "<=") -> Limit:
            return Limit(getattr(part, name), f"quantization.{name}", op)

        return cls(
            cell=None if integers else limit("max_patch_difference"),
            mean=limit("max_mean_patch_difference"),
            argmax_loss=limit("max_argmax_loss"),
            cell_correlation=limit("min_rank_correlation", ">="),
            pooled=limit("max_pooled_difference"),
            probability=limit("max_probability_difference"),
            flips=limit("max_decision_flips"),
        )

    @classmethod
    def exact(cls, policy: PolicyContract) -> ParityLimits:
        """What two float files of one model must keep: the tolerances of S5, S6 and S7, and no flip at all."""
        return cls(
            cell=Limit(policy.patch_grid.tolerance_s5, "patch_grid.tolerance_s5"),
            mean=None,
            argmax_loss=None,
            cell_correlation=None,
            pooled=Limit(policy.pooling.tolerance_s6, "pooling.tolerance_s6"),
            probability=Limit(policy.calibration.tolerance_s7, "calibration.tolerance_s7"),
            flips=Limit(0.0, "none may flip"),
        )


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
    if reference.size < 2 or np.ptp(reference) == 0 or np.ptp(candidate) == 0:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(reference, candidate).statistic)


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
