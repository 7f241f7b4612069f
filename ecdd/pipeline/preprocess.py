"""S3 and S4: crop, the one resize, and normalisation."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.contract.pixel_sections import FaceDetector, PixelPipeline
from ecdd.pipeline.reason_codes import ReasonCode, Rejected


class CropBox(NamedTuple):
    """Half-open box in upright picture pixels; may exceed the picture only when the edge is replicated."""

    x0: int
    y0: int
    x1: int
    y1: int


def cut(image: Image.Image, box: CropBox, policy: FaceDetector) -> Image.Image:
    """Cut a box out of the picture, without resampling.

    Parameters
    ----------
    image : Image
        S1, or a plane of the same size (mode ``F``: a mask that must follow the picture).
    box : CropBox
        Whole pixels.
    policy : FaceDetector
        ``crop_overflow`` says what lies beyond the edge.

    Returns
    -------
    Image
        The image's mode, ``box`` large.
    """
    if policy.crop_overflow == "shift_then_shrink":
        return image.crop(box)
    inner = CropBox(max(box.x0, 0), max(box.y0, 0), min(box.x1, image.width), min(box.y1, image.height))
    pixels = np.asarray(image.crop(inner))
    pad = ((inner.y0 - box.y0, box.y1 - inner.y1), (inner.x0 - box.x0, box.x1 - inner.x1), (0, 0))
    return Image.fromarray(np.pad(pixels, pad[: pixels.ndim], mode="edge"))


def resize(crop: Image.Image, policy: PixelPipeline, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """S3: the one resize, from a cut face to the model's input size.

    The crop is cut first, because ``resize(box=…)`` lets the kernel read beyond the box.

    Parameters
    ----------
    crop : Image
        RGB.
    policy : PixelPipeline
        ``resize_kernel`` and ``input_size``; Pillow always widens the kernel when it reduces (antialias) and
        rounds to the nearest level.
    size : (int, int), optional
        Width and height for a model that is not the contract's; ``input_size`` twice by default.

    Returns
    -------
    ndarray, uint8, shape (height, width, 3)
        S3, RGB.
    """
    kernel = Image.Resampling[policy.resize_kernel.upper()]
    size = size or (policy.input_size, policy.input_size)
    resized = crop if crop.size == size else crop.resize(size, kernel, reducing_gap=None)
    return np.array(resized, dtype=np.uint8)


@lru_cache(maxsize=8)
def _level_table(scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """Normalised value of each level and channel, shape (3, 256), computed in float64 and rounded once."""
    levels = np.arange(256, dtype=np.float64)[None, :] * scale
    table: NDArray[np.float32] = ((levels - np.asarray(mean)[:, None]) / np.asarray(std)[:, None]).astype(np.float32)
    return table


def normalise(s3: NDArray[np.uint8], policy: PixelPipeline) -> NDArray[np.float32]:
    """S4: (level x pixel_scale - mean) / std, computed in float64 a level and rounded once to float32.

    Parameters
    ----------
    s3 : ndarray, uint8, shape (H, W, 3)
        RGB levels.
    policy : PixelPipeline
        Scale, mean and standard deviation.

    Returns
    -------
    ndarray, float32, shape (H, W, 3)
        S4.

    Raises
    ------
    Rejected
        ``PX-001`` when dtype or shape of S3 is another one.
    """
    if s3.dtype != np.uint8 or s3.ndim != 3 or s3.shape[2] != 3:
        raise Rejected((ReasonCode.PIXEL_INVARIANT,), f"S3 is {s3.dtype} {s3.shape}, expected uint8 (H, W, 3)")
    table = _level_table(policy.pixel_scale, tuple(policy.normalisation_mean), tuple(policy.normalisation_std))
    out = np.empty(s3.shape, np.float32)
    for channel in range(3):
        np.take(table[channel], s3[..., channel], out=out[..., channel])
    return out


def check_tensor(batch: NDArray[np.float32], policy: PixelPipeline) -> None:
    """Assert what must hold at the model's boundary (E1.5).

    Parameters
    ----------
    batch : ndarray
        S4 tensors, NHWC.
    policy : PixelPipeline
        Size, mean and standard deviation, which bound the range.

    Raises
    ------
    Rejected
        ``PX-001`` for another dtype or shape, a value that no level gives, or one that is not finite.
    """
    side = policy.input_size
    if batch.dtype != np.float32:
        raise Rejected((ReasonCode.PIXEL_INVARIANT,), f"S4 is {batch.dtype}, expected float32")
    if batch.ndim != 4 or batch.shape[1:] != (side, side, 3) or not batch.shape[0]:
        raise Rejected((ReasonCode.PIXEL_INVARIANT,), f"S4 has shape {batch.shape}, expected (N, {side}, {side}, 3)")
    table = _level_table(policy.pixel_scale, tuple(policy.normalisation_mean), tuple(policy.normalisation_std))
    # rows first: reducing all but an innermost axis of 3 at once takes numpy fifty times as long
    rows = batch.reshape(-1, side * 3)
    low, high = rows.min(axis=0).reshape(side, 3).min(axis=0), rows.max(axis=0).reshape(side, 3).max(axis=0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise Rejected((ReasonCode.PIXEL_INVARIANT,), "S4 holds a value that is not finite")
    slack = policy.tolerance_s4
    for channel in range(3):
        if low[channel] < table[channel, 0] - slack or high[channel] > table[channel, 255] + slack:
            found = f"[{low[channel]:.4f}, {high[channel]:.4f}]"
            allowed = f"[{table[channel, 0]:.4f}, {table[channel, 255]:.4f}]"
            raise Rejected((ReasonCode.PIXEL_INVARIANT,), f"S4 channel {channel} spans {found}, levels give {allowed}")
