"""A picture in few tonal values, and in ways that leave a photograph its tones.

The contract's limits lie between what was measured on 89 faces of ``--data``: 30 effective levels at least and 3 % of
large steps at most in photographs (also at RGB-565, half contrast, a palette of 256), 17 levels at most in two-level
and dithered pictures and 32 % of large steps at least once dithered. 30 degrees of roll turn away 0.7 % of 731 faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from gates.support.portraits import jpeg, png

# thresholds of Bayer's ordered dithering, 4 x 4, in sixteenths
_BAYER: Final = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


@dataclass(frozen=True, eq=False)
class Photograph:
    """An RGB picture and its own best colours, which take longer to find than all the rest: once for each number."""

    image: Image.Image
    _palettes: dict[int, Image.Image] = field(default_factory=dict)

    def palette(self, colours: int) -> Image.Image:
        """In so many of its own best colours, not dithered."""
        if colours not in self._palettes:
            self._palettes[colours] = self.image.quantize(colours, dither=Image.Dither.NONE)
        return self._palettes[colours]


def _ordered(photograph: Photograph) -> Image.Image:
    luma = np.asarray(photograph.image.convert("L"))
    limits = np.tile((_BAYER * 16 + 8), (luma.shape[0] // 4 + 1, luma.shape[1] // 4 + 1))
    return Image.fromarray(np.where(luma > limits[: luma.shape[0], : luma.shape[1]], 255, 0).astype(np.uint8))


def _rgb565(photograph: Photograph) -> Image.Image:
    return Image.fromarray(np.asarray(photograph.image) & np.array([0xF8, 0xFC, 0xF8], np.uint8))


_Make = Callable[[Photograph], Image.Image]
_FEW: Final[Mapping[str, _Make]] = {
    "two_levels": lambda photograph: photograph.image.convert("L").point(lambda level: 255 * (level > 127)),
    "dithered": lambda photograph: photograph.image.convert("1"),
    "ordered_dithering": _ordered,
    "palette_of_8": lambda photograph: photograph.palette(8),
    "palette_of_8_dithered": lambda photograph: photograph.image.quantize(
        palette=photograph.palette(8), dither=Image.Dither.FLOYDSTEINBERG
    ),
    "posterised_to_4_levels": lambda photograph: ImageOps.posterize(photograph.image, 2),
}
_ENOUGH: Final[Mapping[str, _Make]] = {
    "plain": lambda photograph: photograph.image,
    "grey": lambda photograph: ImageOps.grayscale(photograph.image),
    "palette_of_256": lambda photograph: photograph.palette(256),
    "rgb_565": _rgb565,
    "half_contrast": lambda photograph: photograph.image.point(lambda level: 64 + level // 2),
    "strong_contrast": lambda photograph: ImageOps.autocontrast(photograph.image, cutoff=5),
}


def _png(make: _Make) -> Callable[[Photograph], bytes]:
    return lambda photograph: png(make(photograph).convert("RGB"))


def _jpeg(make: _Make) -> Callable[[Photograph], bytes]:
    return lambda photograph: jpeg(make(photograph).convert("RGB"), 75)


_SCATTERED: Final = ("two_levels", "dithered", "ordered_dithering")
# by name, the file: without loss, and those of two levels also as a messenger sends them on
FEW_TONES: Final[Mapping[str, Callable[[Photograph], bytes]]] = {
    **{name: _png(make) for name, make in _FEW.items()},
    **{f"{name}_jpeg": _jpeg(_FEW[name]) for name in _SCATTERED},
}
# JPEG gives these a photograph's histogram again: on 89 faces 42 to 161 effective levels, photographs have 30 to 217
NOT_TOLD_APART: Final[Mapping[str, Callable[[Photograph], bytes]]] = {
    f"{name}_jpeg": _jpeg(make) for name, make in _FEW.items() if name not in _SCATTERED
}
ENOUGH_TONES: Final[Mapping[str, Callable[[Photograph], bytes]]] = {
    **{name: _png(make) for name, make in _ENOUGH.items()},
    "jpeg_40": lambda photograph: jpeg(photograph.image, 40),
}
