"""Whether a way that was timed computed the right thing, by the very answers of the timed calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.schema import PolicyContract
from ecdd.inference.calibration import AppliedCalibration, probability
from ecdd.inference.pooling import pool
from ecdd.parity.float_vs_tflite import Band, ProbabilityParity, probability_parity
from ecdd.parity.parity_metric import ParityLimits
from ecdd.parity.patch_map_parity import PatchParity, patch_parity
from ecdd.runtimes.base import ModelOutputs

# A quantised map keeps the order of its cells; a transposed map, or another model's, does not (both are tested).
# Quantised modes are measured here and judged by gate G5: this bar only tells a wrong answer from a coarse one.
LEAST_RANK_CORRELATION: Final = 0.9


class WrongAnswer(AssertionError):  # noqa: N818 - a benchmark that fails, not a condition to be handled
    """A way that is fast and wrong."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The network in float64 on N tensors.

    Attributes
    ----------
    maps : ndarray, float64, shape (N, rows, cols)
        S5.
    probabilities : ndarray, float64, shape (N,)
        By the float calibration.
    band : (t_real, t_fake), or None
        Thresholds of it.
    """

    maps: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    band: Band | None

    @classmethod
    def of(
        cls, maps: NDArray[np.float64], policy: PolicyContract, calibration: AppliedCalibration, band: Band | None
    ) -> Reference:
        """Pool and calibrate the reference's maps."""
        pooled = [pool(one.astype(np.float32), policy.pooling) for one in maps]
        return cls(maps, np.array([probability(calibration.logit(logit)) for logit in pooled]), band)


@dataclass(frozen=True)
class Difference:
    """How far a way's answers are from the reference."""

    patch: PatchParity
    probability: ProbabilityParity

    def stored(self) -> dict[str, Any]:
        """The numbers of a row."""
        flips = self.probability.flips
        return {
            "max_dp": round(self.probability.max_difference, 7),
            "max_patch_difference_over_spread": round(self.patch.relative, 7),
            "min_rank_correlation": round(self.patch.cell_correlation, 4),
            "decision_flips": None if flips is None else len(flips),
            "samples": self.patch.n,
        }


def difference(
    reference: Reference,
    answers: ModelOutputs,
    policy: PolicyContract,
    calibration: AppliedCalibration,
    band: Band | None,
) -> Difference:
    """Compare answers on the reference's tensors; pooled by the contract's rule where the way gives the map alone."""
    pooled = [pool(one, policy.pooling) for one in answers.maps] if answers.pooled is None else answers.pooled
    found = np.array([probability(calibration.logit(float(logit))) for logit in pooled])
    return Difference(
        patch_parity(reference.maps, answers.maps),
        probability_parity(reference.probabilities, found, reference.band, band),
    )


def joined(answers: dict[int, list[ModelOutputs]], places: int, name: str) -> ModelOutputs:
    """The answers by input, after every call on the same input gave the same numbers.

    Raises
    ------
    WrongAnswer
        If an input was never computed, or two calls differ.
    """
    for place in range(places):
        every = answers.get(place, [])
        if not every:
            raise WrongAnswer(f"{name}: input {place} was never computed in the timed run")
        if not all(np.array_equal(every[0].maps, one.maps) for one in every[1:]):
            raise WrongAnswer(f"{name}: two timed calls on input {place} gave different maps")
    first: Sequence[ModelOutputs] = [answers[place][0] for place in range(places)]
    pooled = [one.pooled for one in first if one.pooled is not None]
    return ModelOutputs(
        np.concatenate([one.maps for one in first]), np.concatenate(pooled) if len(pooled) == places else None
    )


def check(found: Difference, name: str, mode: str, policy: PolicyContract) -> None:
    """Fail where a way computed something else than the network.

    Raises
    ------
    WrongAnswer
        Naming the way, what was found and the limit.
    """
    problems = []
    if mode == "float32":
        limits = ParityLimits.exact(policy)
        assert limits.cell is not None
        for what, value, limit in (
            ("max patch difference / spread", found.patch.relative, limits.cell),
            ("max |dp|", found.probability.max_difference, limits.probability),
        ):
            if not value <= limit.value:
                problems.append(f"{what} {value:.3g}, at most {limit.value:g} ({limit.clause})")
    elif not found.patch.cell_correlation >= LEAST_RANK_CORRELATION:
        problems.append(f"rank correlation {found.patch.cell_correlation:.3f}, at least {LEAST_RANK_CORRELATION:g}")
    if problems:
        raise WrongAnswer(f"{name} does not compute the network: {'; '.join(problems)}")
