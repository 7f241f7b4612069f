"""Pooling (S6): from a patch-logit map to one logit, numpy only.

Sums run in float32 with numpy's pairwise order; the reference in the gates is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.model_sections import Pooling, PoolingRule
    from ecdd.runtimes.base import ModelOutputs

NOTHING_POOLED: Final = "pooling.rule is none: the output of the file decides, and nothing is pooled"


def pool(patch_map: NDArray[np.float32], policy: Pooling) -> float:
    """Pool a patch-logit map by the contract's rule.

    Parameters
    ----------
    patch_map : ndarray, float32, shape (rows, cols)
        S5.
    policy : Pooling
        Rule and its parameters.

    Returns
    -------
    float
        S6, the pooled logit.
    """
    values = np.ascontiguousarray(patch_map, dtype=np.float32).reshape(-1)
    if policy.rule == "none":
        raise ValueError(NOTHING_POOLED)
    return RULES[policy.rule].pool(values, policy)


@dataclass(frozen=True)
class Rule:
    """How one rule makes one logit of N.

    Attributes
    ----------
    knob : str
        Key of the contract's section that sets the rule's strength; empty where nothing does.
    pool : callable
        From logits, float32 (N,) in row-major order, and the policy to S6.
    ranks : callable, optional
        Of a rule that is the mean of some ranks: from the policy and N to the first rank, 0 for the largest logit, and
        the one behind the last. Other runtimes and torch follow it. None where every cell is weighted by its logit.
    """

    knob: str
    pool: Callable[[NDArray[np.float32], Pooling], float]
    ranks: Callable[[Pooling, int], tuple[int, int]] | None


def _mean(values: NDArray[np.float32], _policy: Pooling) -> float:
    return float(values.mean(dtype=np.float32))


def _trimmed_mean(values: NDArray[np.float32], policy: Pooling) -> float:
    cut = trimmed_count(policy.trim_fraction, values.size)
    return float(np.sort(values, kind="stable")[cut : values.size - cut].mean(dtype=np.float32))


def _trimmed_ranks(policy: Pooling, cells: int) -> tuple[int, int]:
    cut = trimmed_count(policy.trim_fraction, cells)
    return cut, cells - cut


def _top_k(values: NDArray[np.float32], policy: Pooling) -> float:
    return float(values[top_k_indices(values, policy.top_k_ratio)].mean(dtype=np.float32))


def _attention(values: NDArray[np.float32], policy: Pooling) -> float:
    return float((attention_weights(values, policy.attention_temperature) * values).sum(dtype=np.float32))


# from simple to elaborate
RULES: Final[Mapping[PoolingRule, Rule]] = {
    "mean": Rule("", _mean, lambda _, cells: (0, cells)),
    "trimmed_mean": Rule("trim_fraction", _trimmed_mean, _trimmed_ranks),
    "top_k": Rule("top_k_ratio", _top_k, lambda policy, cells: (0, top_k_count(policy.top_k_ratio, cells))),
    "attention": Rule("attention_temperature", _attention, None),
}


def pooled_logits(found: ModelOutputs, policy: Pooling) -> NDArray[np.float32]:
    """S6 of a batch: its maps pooled by the contract's rule, or what the file's own output says where the rule is none.

    Parameters
    ----------
    found : ModelOutputs
        Of one runtime.
    policy : Pooling
        Rule and its parameters.

    Returns
    -------
    ndarray, float32, shape (N,)
        Not finite where a map is not, or its sum overflows.
    """
    if policy.rule != "none":
        with np.errstate(over="ignore", invalid="ignore"):  # judged by its result
            return np.array([pool(one, policy) for one in found.maps], np.float32)
    assert found.pooled is not None, "a file without its deciding output is refused when it is opened"
    return found.pooled


def top_k_indices(values: NDArray[np.float32], ratio: float) -> NDArray[np.intp]:
    """Indices of the K = ceil(ratio x N) largest values; of equal values the lower index comes first.

    Parameters
    ----------
    values : ndarray, float32, shape (N,)
        Logits in row-major order.
    ratio : float
        In (0, 1].

    Returns
    -------
    ndarray of int, shape (K,)
        By falling value.
    """
    return np.argsort(-values, kind="stable")[: top_k_count(ratio, values.size)]


def top_k_count(ratio: float, cells: int) -> int:
    """K = ceil(ratio x cells), at least 1, of the ratio as it is written: 0.07 of 100 cells are 7.

    In binary 0.07 x 100 lies a little above 7, and its ceiling is 8.
    """
    return max(1, math.ceil(Decimal(repr(ratio)) * cells))


def attention_weights(values: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Softmax of logits / temperature, with the maximum subtracted first so that nothing overflows.

    Parameters
    ----------
    values : ndarray, float32, shape (N,)
        Logits.
    temperature : float
        Above 0.

    Returns
    -------
    ndarray, float32, shape (N,)
        Weights that add up to 1.
    """
    shifted = (values - values.max()) / np.float32(temperature)
    weights: NDArray[np.float32] = np.exp(shifted)
    weights /= weights.sum(dtype=np.float32)
    return weights


def trimmed_count(fraction: float, cells: int) -> int:
    """Cells cut from each end: floor(fraction x cells) of the fraction as it is written."""
    return math.floor(Decimal(repr(fraction)) * cells)
