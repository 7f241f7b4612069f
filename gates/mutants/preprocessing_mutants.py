"""Defects in crop, resize and normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ecdd.pipeline import preprocess


def _resize_by(change: Callable[[Image.Image, tuple[int, int]], Any]) -> None:
    def planted(crop: Image.Image, policy: Any) -> Any:
        return np.array(change(crop, (policy.input_size, policy.input_size)), dtype=np.uint8)

    preprocess.resize = planted


def bicubic() -> None:
    """A library's new default kernel."""
    _resize_by(lambda crop, size: crop.resize(size, Image.Resampling.BICUBIC))


def area() -> None:
    """Box averaging, as OpenCV's INTER_AREA."""
    _resize_by(lambda crop, size: crop.resize(size, Image.Resampling.BOX))


def nearest() -> None:
    """The quickest kernel."""
    _resize_by(lambda crop, size: crop.resize(size, Image.Resampling.NEAREST))


def opencv() -> None:
    """OpenCV's default resize in place of Pillow's."""
    import cv2

    _resize_by(lambda crop, size: cv2.resize(np.asarray(crop), size, interpolation=cv2.INTER_LINEAR))


def no_antialias() -> None:
    """Bilinear at the sample points: torch's interpolate without antialias=True."""

    def sampled(crop: Image.Image, size: tuple[int, int]) -> Image.Image:
        scale = (crop.width / size[0], 0.0, 0.0, 0.0, crop.height / size[1], 0.0)
        return crop.transform(size, Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)

    _resize_by(sampled)


def reducing_gap() -> None:
    """Pillow's faster two-step reduction."""
    _resize_by(lambda crop, size: crop.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0))


def squash() -> None:
    """The application stretches the whole picture; training cropped the face."""
    preprocess.cut = lambda image, _box, _policy: image


def scale_twice() -> None:
    """Divided by 255 in the loader and again in the application."""
    really = preprocess.normalise
    preprocess.normalise = lambda s3, policy: really((s3 // 255).astype(np.uint8), policy)


def range_minus1_1() -> None:
    """Scaled to -1 … 1, as other families of networks want it."""
    preprocess.normalise = lambda s3, _policy: (s3.astype(np.float32) / np.float32(127.5)) - np.float32(1)


def wrong_mean_std() -> None:
    """Mean and standard deviation of another data set."""
    mean, std = np.float32([0.5, 0.5, 0.5]), np.float32([0.5, 0.5, 0.5])
    preprocess.normalise = lambda s3, _policy: (s3.astype(np.float32) / np.float32(255) - mean) / std


def constants_of_the_first_contract() -> None:
    """A table of levels is kept by scale and mean alone: the next contract's deviation is not looked at."""
    really, kept = preprocess._level_table, dict[Any, Any]()
    preprocess._level_table = lambda scale, mean, std: kept.setdefault((scale, mean), really(scale, mean, std))
