"""What a training minimises: the picture's loss, the cells' loss, and the distance to a teacher's map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ecdd.models.pooling import pool

if TYPE_CHECKING:
    from ecdd.contract.model_sections import Pooling
    from ecdd.contract.schema import PolicyContract
    from ecdd.training.config import DistilSettings, OptimiseSettings

# A cell is forged when more than half of its box is, and whole when less than a hundredth is; between them it has
# no label: a cell at the border of a mask sees both.
FORGED_SHARE, WHOLE_SHARE = 0.5, 0.01
# logit^2: a teacher's map that is flatter has nothing to follow
LEAST_VARIANCE = 1e-6


def picture_loss(maps: Tensor, labels: Tensor, smoothing: float, pooling: Pooling) -> Tensor:
    """Binary cross entropy of the pooled logit against the picture's label.

    Parameters
    ----------
    maps : Tensor, float32, shape (N, rows, cols)
        Patch-logit maps.
    labels : Tensor, float32, shape (N,)
        1 fake, 0 real.
    smoothing : float
        Labels become ``smoothing`` and ``1 - smoothing``.
    pooling : Pooling
        The contract's rule: what is trained is what decides.

    Returns
    -------
    Tensor, float32, scalar
        Mean over pictures, nats.
    """
    return functional.binary_cross_entropy_with_logits(pool(maps, pooling), _smooth(labels, smoothing))


def cell_shares(masks: Tensor, receptive_field: int, stride: int) -> Tensor:
    """Share of every cell's box that is forged.

    Parameters
    ----------
    masks : Tensor, float32, shape (N, H, W)
        Share of each pixel that is forged, 0 … 1.
    receptive_field, stride : int
        Of the patch grid, px, without padding.

    Returns
    -------
    Tensor, float32, shape (N, rows, cols)
        0 … 1.
    """
    return functional.avg_pool2d(masks[:, None], receptive_field, stride).squeeze(1)


def masked_cell_loss(maps: Tensor, shares: Tensor, known: Tensor) -> Tensor:
    """Binary cross entropy of single cells against where a forgery was made; both kinds of cells weigh alike.

    Parameters
    ----------
    maps, shares : Tensor, float32, shape (N, rows, cols)
        Patch-logit maps and `cell_shares`.
    known : Tensor, bool, shape (N,)
        Pictures whose mask is known: forgeries, and real pictures (an empty mask).

    Returns
    -------
    Tensor, float32, scalar
        0 when no cell has a label.
    """
    rows = maps.shape[1:]
    use = known[:, None, None].expand(-1, *rows)
    parts = []
    for target, chosen in ((1.0, use & (shares > FORGED_SHARE)), (0.0, use & (shares < WHOLE_SHARE))):
        if chosen.any():
            logits = maps[chosen]
            parts.append(functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target)))
    return torch.stack(parts).mean() if parts else maps.sum() * 0.0


def distillation_loss(maps: Tensor, teacher: Tensor, settings: DistilSettings) -> Tensor:
    """Distance between a student's and a teacher's map, cell by cell.

    ``mse``: squared difference of logits, in units of the variance of the teacher's cells in the batch: a teacher
    that is careful (small logits) is followed as closely as one that is not. ``kl``: Kullback-Leibler divergence of
    the two-class distributions at a temperature, times its square, so that gradients keep their size (Hinton, Vinyals
    and Dean, 2015).

    Parameters
    ----------
    maps, teacher : Tensor, float32, shape (N, rows, cols)
        Patch-logit maps of the same tensors.
    settings : DistilSettings
        Kind and temperature.

    Returns
    -------
    Tensor, float32, scalar
        Mean over cells, at least 0.
    """
    if settings.loss == "mse":
        return functional.mse_loss(maps, teacher) / teacher.var(correction=0).clamp(min=LEAST_VARIANCE)
    t = settings.temperature
    p, ours, theirs = torch.sigmoid(teacher / t), maps / t, teacher / t
    positive = p * (functional.logsigmoid(theirs) - functional.logsigmoid(ours))
    negative = (1 - p) * (functional.logsigmoid(-theirs) - functional.logsigmoid(-ours))
    return (positive + negative).mean() * t**2


def training_loss(
    maps: Tensor,
    labels: Tensor,
    masks: tuple[Tensor, Tensor],
    teacher: Tensor | None,
    settings: tuple[OptimiseSettings, DistilSettings | None],
    policy: PolicyContract,
    *,
    first_stage: bool,
) -> Tensor:
    """Add up the losses of a batch.

    Parameters
    ----------
    maps : Tensor, float32, shape (N, rows, cols)
        Patch-logit maps.
    labels : Tensor, float32, shape (N,)
        1 fake, 0 real.
    masks : tuple of Tensor
        Forged share of each pixel, (N, H, W), and whether it is known, (N,).
    teacher : Tensor, float32, shape (N, rows, cols), optional
        Its maps.
    settings : tuple
        Weights of the parts.
    policy : PolicyContract
        Grid and pooling.
    first_stage : bool
        Only follow the teacher.

    Returns
    -------
    Tensor, float32, scalar
        What to minimise.
    """
    optimise, distil = settings
    follow = maps.sum() * 0.0
    if teacher is not None and distil is not None:
        follow = distil.weight * distillation_loss(maps, teacher, distil)
        if first_stage:
            return follow
    loss = picture_loss(maps, labels, optimise.label_smoothing, policy.pooling) + follow
    if optimise.cell_loss:
        target = _smooth(labels, optimise.label_smoothing)[:, None, None].expand_as(maps)
        loss = loss + optimise.cell_loss * functional.binary_cross_entropy_with_logits(maps, target)
    if optimise.mask_loss:
        grid = policy.patch_grid
        shares = cell_shares(masks[0], grid.box[0], grid.stride)
        loss = loss + optimise.mask_loss * masked_cell_loss(maps, shares, masks[1])
    return loss


def _smooth(labels: Tensor, smoothing: float) -> Tensor:
    return labels * (1 - 2 * smoothing) + smoothing
