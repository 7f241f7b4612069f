"""A picture in few tonal values, and in ways that leave a photograph its tones.

The contract's limits lie between what was measured on 89 faces of ``--data``: 30 effective levels at least and 3 % of
large steps at most in photographs (also at RGB-565, half contrast, a palette of 256), 17 levels at most in two-level
and dithered pictures and 32 % of large steps at least once dithered. 30 degrees of roll turn away 0.7 % of 731 faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from gates.support.portraits import jpeg, png

# thresholds of Bayer's ordered dithering, 4 x 4, in sixteenths
_BAYER: Final = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


def _ordered(image: Image.Image) -> Image.Image:
    luma = np.asarray(image.convert("L"))
    limits = np.tile((_BAYER * 16 + 8), (luma.shape[0] // 4 + 1, luma.shape[1] // 4 + 1))
    return Image.fromarray(np.where(luma > limits[: luma.shape[0], : luma.shape[1]], 255, 0).astype(np.uint8))


def _palette(image: Image.Image, colours: int, dither: Image.Dither) -> Image.Image:
    """The picture in its own best colours."""
    best = image.quantize(colours, dither=Image.Dither.NONE)
    return best if dither == Image.Dither.NONE else image.quantize(palette=best, dither=dither)


def _rgb565(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image) & np.array([0xF8, 0xFC, 0xF8], np.uint8))


_FEW: Final[Mapping[str, Callable[[Image.Image], Image.Image]]] = {
    "two_levels": lambda image: image.convert("L").point(lambda level: 255 * (level > 127)),
    "dithered": lambda image: image.convert("1"),
    "ordered_dithering": _ordered,
    "palette_of_8": lambda image: _palette(image, 8, Image.Dither.NONE),
    "palette_of_8_dithered": lambda image: _palette(image, 8, Image.Dither.FLOYDSTEINBERG),
    "posterised_to_4_levels": lambda image: ImageOps.posterize(image, 2),
}
_ENOUGH: Final[Mapping[str, Callable[[Image.Image], Image.Image]]] = {
    "plain": lambda image: image,
    "grey": ImageOps.grayscale,
    "palette_of_256": lambda image: _palette(image, 256, Image.Dither.NONE),
    "rgb_565": _rgb565,
    "half_contrast": lambda image: image.point(lambda level: 64 + level // 2),
    "strong_contrast": lambda image: ImageOps.autocontrast(image, cutoff=5),
}


def _png(make: Callable[[Image.Image], Image.Image]) -> Callable[[Image.Image], bytes]:
    return lambda image: png(make(image).convert("RGB"))


def _jpeg(make: Callable[[Image.Image], Image.Image]) -> Callable[[Image.Image], bytes]:
    return lambda image: jpeg(make(image).convert("RGB"), 75)


_SCATTERED: Final = ("two_levels", "dithered", "ordered_dithering")
# by name, the file: without loss, and those of two levels also as a messenger sends them on
FEW_TONES: Final[Mapping[str, Callable[[Image.Image], bytes]]] = {
    **{name: _png(make) for name, make in _FEW.items()},
    **{f"{name}_jpeg": _jpeg(_FEW[name]) for name in _SCATTERED},
}
# JPEG gives these a photograph's histogram again: on 89 faces 42 to 161 effective levels, photographs have 30 to 217
NOT_TOLD_APART: Final[Mapping[str, Callable[[Image.Image], bytes]]] = {
    f"{name}_jpeg": _jpeg(make) for name, make in _FEW.items() if name not in _SCATTERED
}
ENOUGH_TONES: Final[Mapping[str, Callable[[Image.Image], bytes]]] = {
    **{name: _png(make) for name, make in _ENOUGH.items()},
    "jpeg_40": lambda image: jpeg(image, 40),
}
