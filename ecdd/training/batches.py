"""From drawn variants to batches of S4 parts, labels and masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecdd.contract.schema import PolicyContract
from ecdd.inference.pooling import pool
from ecdd.models.patch_network import PatchNetwork
from ecdd.pipeline.preprocess import normalise
from ecdd.training.augmentation import augment
from ecdd.training.cache import Variant
from ecdd.training.config import AugmentSettings

# On a CPU the feature maps of two tensors still fit the cache; of eight they do not: 25 % slower an image.
SCORING_BATCH = {"cpu": 2}
LARGE_SCORING_BATCH = 32


class HasTensor(Protocol):
    """Anything that S3 can be read of."""

    def s3(self) -> NDArray[np.uint8]:
        """Read S3, uint8, shape (S, S, 3)."""
        ...


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes
    ----------
    tensors : Tensor, float32, shape (N, 3, crop, crop)
        Parts of S4 in NCHW.
    labels : Tensor, float32, shape (N,)
        1 fake, 0 real.
    masks : Tensor, float32, shape (N, crop, crop)
        Share of each pixel that is forged, 0 … 1; 0 where it is not known.
    known : Tensor, bool, shape (N,)
        Whether the mask is known.
    """

    tensors: Tensor
    labels: Tensor
    masks: Tensor
    known: Tensor


def make_batch(
    variants: list[Variant],
    policy: PolicyContract,
    crop: int,
    settings: AugmentSettings | None,
    rng: np.random.Generator,
) -> Batch:
    """Cut a part out of every variant, post-process and normalise it.

    Offsets are even, because NPR knows even pixels from odd ones; a flipped part keeps that, its side being even.

    Parameters
    ----------
    variants : list of Variant
        N drawn variants.
    policy : PolicyContract
        Normalisation and size of S3.
    crop : int
        Side of the parts, px, even.
    settings : AugmentSettings, optional
        Post-processing; none where not given.
    rng : Generator
        Source of randomness.

    Returns
    -------
    Batch
        On the CPU.
    """
    pixels, count = policy.pixel_pipeline, len(variants)
    tensors = np.empty((count, crop, crop, 3), np.float32)
    masks = np.zeros((count, crop, crop), np.float32)
    known = np.zeros(count, bool)
    for k, variant in enumerate(variants):
        y, x = (2 * int(v) for v in rng.integers((pixels.input_size - crop) // 2 + 1, size=2))
        window = (slice(y, y + crop), slice(x, x + crop))
        part: NDArray[np.uint8] = np.ascontiguousarray(variant.s3()[window])
        whole = variant.mask()
        mask = None if whole is None else np.ascontiguousarray(whole[window])
        if settings is not None:
            part, mask = augment(part, mask, settings, pixels, rng)
        tensors[k] = normalise(part, pixels)
        if mask is not None:
            masks[k], known[k] = mask / np.float32(255), True
    labels = torch.tensor([float(v.label) for v in variants])
    return Batch(
        torch.from_numpy(tensors).permute(0, 3, 1, 2), labels, torch.from_numpy(masks), torch.from_numpy(known)
    )


def mixed(batch: Batch, parameter: float, rng: np.random.Generator) -> Batch:
    """Mix every picture with another of its batch, and their labels in the same shares (Zhang et al., 2018).

    Parameters
    ----------
    batch : Batch
        N pictures.
    parameter : float
        Both of the Beta distribution that a picture's own share is drawn from; the larger share is its own.
    rng : Generator
        Source of randomness.

    Returns
    -------
    Batch
        Labels between 0 and 1; a mask is known where both are.
    """
    count = len(batch.labels)
    drawn = rng.beta(parameter, parameter, count).astype(np.float32)
    share = torch.from_numpy(np.minimum(drawn, 1 - drawn))
    other = torch.from_numpy(rng.permutation(count))
    wide = share[:, None, None]
    return Batch(
        torch.lerp(batch.tensors, batch.tensors[other], wide[..., None]),
        torch.lerp(batch.labels, batch.labels[other], share),
        torch.lerp(batch.masks, batch.masks[other], wide),
        batch.known & batch.known[other],
    )


def pooled_logits(
    model: PatchNetwork,
    variants: Sequence[HasTensor],
    policy: PolicyContract,
    device: str = "cpu",
    jobs: int = 1,
) -> NDArray[np.float64]:
    """Score variants with the torch model, pooled by the contract's rule as in the product.

    Parameters
    ----------
    model : PatchNetwork
        Any mode; evaluated in evaluation mode.
    variants : sequence of Variant, or of anything with S3
        n tensors.
    policy : PolicyContract
        Normalisation and pooling.
    device : str
        Where the model is.
    jobs : int
        Batches at a time. With torch at one thread this uses the cores without the barriers of its own threads.

    Returns
    -------
    ndarray, float64, shape (n,)
        Pooled logits; ``jobs`` does not change a bit.
    """
    training = model.training
    model.eval()
    size = SCORING_BATCH.get(device, LARGE_SCORING_BATCH)

    def scored(start: int) -> list[float]:
        chunk = variants[start : start + size]
        batch = torch.from_numpy(np.stack([normalise(v.s3(), policy.pixel_pipeline) for v in chunk]))
        with torch.inference_mode():
            maps = model(batch.permute(0, 3, 1, 2).to(device))
        return [pool(one, policy.pooling) for one in maps.float().cpu().numpy()]

    with ThreadPoolExecutor(jobs) as workers:
        found = [logit for logits in workers.map(scored, range(0, len(variants), size)) for logit in logits]
    model.train(training)
    return np.array(found, np.float64)
