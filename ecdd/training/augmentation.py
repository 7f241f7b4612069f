"""Augmentation of training tensors: flip, colour, and the post-processing of the transform suite (E6.3).

No function here is given a label: what is drawn cannot differ between real and fake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecdd.training.forgeries.post_processing import draw_plan, post_process

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.pixel_sections import PixelPipeline
    from ecdd.training.config import AugmentSettings


def augment(
    part: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    settings: AugmentSettings,
    pixels: PixelPipeline,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Augment a part of S3 and turn its mask with it.

    Parameters
    ----------
    part : ndarray of uint8, shape (side, side, 3)
        A part of S3.
    mask : ndarray of uint8, shape (side, side), optional
        Share of each pixel that is forged, 0 … 255.
    settings : AugmentSettings
        Probabilities and ranges.
    pixels : PixelPipeline
        The canonical decoder's policy, for JPEG steps.
    rng : Generator
        Source of randomness; the same numbers are drawn whether a step is applied or not.

    Returns
    -------
    part : ndarray of uint8, same shape
    mask : ndarray of uint8, same shape, or None
        Flipped with the part; resizing and blurring move no pixel far enough to matter to a 9-pixel cell.
    """
    flip, colour, post = rng.random(3)
    part = _coloured(part, settings, rng, apply=bool(colour < settings.colour))
    plan = draw_plan(rng)
    if post < settings.post_processing:
        part = post_process(part, plan, pixels)
    if flip < settings.flip:
        part = np.ascontiguousarray(part[:, ::-1])
        mask = None if mask is None else np.ascontiguousarray(mask[:, ::-1])
    return part, mask


def _coloured(
    part: NDArray[np.uint8], settings: AugmentSettings, rng: np.random.Generator, *, apply: bool
) -> NDArray[np.uint8]:
    contrast, brightness, saturation = (
        np.float32(rng.uniform(*span)) for span in (settings.contrast, settings.brightness, settings.saturation)
    )
    if not apply:
        return part
    levels = part.astype(np.float32)
    middle = levels.mean(dtype=np.float32)
    changed = (levels - middle) * contrast + middle + brightness
    grey = changed.mean(axis=2, keepdims=True, dtype=np.float32)
    toned: NDArray[np.uint8] = np.clip(np.rint(grey + (changed - grey) * saturation), 0, 255).astype(np.uint8)
    return toned
