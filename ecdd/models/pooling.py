"""Pooling (S6) in torch: the twin of `ecdd.inference.pooling`, in batches and with gradients, for training.

Rule, ties and counts are those of the numpy functions; the sums run in float32 in torch's own order, so both agree to
about 1e-6 of the largest logit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ecdd.inference.pooling import NOTHING_POOLED, RULES

if TYPE_CHECKING:
    from torch import Tensor

    from ecdd.contract.model_sections import Pooling


def pool(maps: Tensor, policy: Pooling) -> Tensor:
    """Pool patch-logit maps by the contract's rule.

    Parameters
    ----------
    maps : Tensor, floating, shape (N, rows, cols)
        S5.
    policy : Pooling
        Rule and its parameters.

    Returns
    -------
    Tensor, float32, shape (N,)
        S6, the pooled logits; differentiable.
    """
    values = maps.float().flatten(1)
    if policy.rule == "none":
        raise ValueError(NOTHING_POOLED)
    ranks, cells = RULES[policy.rule].ranks, values.shape[1]
    if ranks is None:
        return (attention_weights(values, policy.attention_temperature) * values).sum(dim=1)
    first, end = ranks(policy, cells)
    if (first, end) == (0, cells):
        return values.mean(dim=1)
    # a stable sort keeps equal logits in row-major order: the lowest index first, as torch.topk does not promise
    order = torch.sort(values.detach(), dim=1, descending=True, stable=True).indices[:, first:end]
    return values.gather(1, order).mean(dim=1)


def attention_weights(values: Tensor, temperature: float) -> Tensor:
    """Softmax of logits / temperature, with the maximum subtracted first so that nothing overflows.

    Parameters
    ----------
    values : Tensor, float32, shape (N, cells)
        Logits in row-major order.
    temperature : float
        Above 0.

    Returns
    -------
    Tensor, float32, shape (N, cells)
        Weights that add up to 1 in every row.
    """
    shifted = (values - values.amax(dim=1, keepdim=True)) / temperature
    weights = torch.exp(shifted)
    return weights / weights.sum(dim=1, keepdim=True)
