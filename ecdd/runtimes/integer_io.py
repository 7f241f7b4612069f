"""Integer inputs and outputs of a model file: exact steps between float32 and uint8, int8 or int16.

The rule is the one that LiteRT's own QUANTIZE and DEQUANTIZE compute under XNNPACK, bit for bit: a product with the
float32 reciprocal of the scale, round half to even, saturate; and ``(q - zero_point) * scale`` in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTEGERS: Final = ("uint8", "int8", "int16")


@dataclass(frozen=True)
class AffineQuantisation:
    """How the integers of a tensor stand for numbers: ``(q - zero_point) * scale``.

    Attributes
    ----------
    dtype : str
        ``"uint8"``, ``"int8"`` or ``"int16"``.
    scale : float
        Above 0; a float32.
    zero_point : int
        Integer that stands for 0.
    """

    dtype: str
    scale: float
    zero_point: int

    def problem(self) -> str | None:
        """Say what makes the numbers unusable; None where nothing does."""
        if self.dtype not in INTEGERS:
            return f"dtype {self.dtype}, needed is {', '.join(INTEGERS[:-1])} or {INTEGERS[-1]}"
        if not (math.isfinite(self.scale) and self.scale > 0):
            return f"scale {self.scale:g}, needed is a finite number above 0"
        with np.errstate(over="ignore"):
            if not np.isfinite(np.float32(1) / np.float32(self.scale)):
                return f"scale {self.scale:g}, whose reciprocal is no float32"
        low, high = self._ends()
        if not low <= self.zero_point <= high:
            return f"zero point {self.zero_point}, needed is {low} to {high}"
        return None

    def quantise(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """From numbers to integers: half to even, saturating.

        Parameters
        ----------
        values : ndarray, float32
            Any shape.

        Returns
        -------
        ndarray of `dtype`
            Same shape.

        Raises
        ------
        ValueError
            If a value is NaN: no integer stands for it.
        """
        if np.isnan(values).any():
            msg = "a value is NaN; no integer stands for it"
            raise ValueError(msg)
        low, high = self._ends()
        with np.errstate(over="ignore"):  # an infinite product saturates as any other beyond the ends
            scaled = values * (np.float32(1) / np.float32(self.scale))
        # the ends are whole numbers: saturating before rounding gives the same, and all stay exact in float32
        steps = np.rint(np.clip(scaled, np.float32(low - self.zero_point), np.float32(high - self.zero_point)))
        return np.asarray((steps + np.float32(self.zero_point)).astype(self.dtype))

    def dequantise(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """From integers to numbers.

        Parameters
        ----------
        integers : ndarray of `dtype`
            Any shape.

        Returns
        -------
        ndarray, float32
            Same shape.
        """
        steps = integers.astype(np.int32) - np.int32(self.zero_point)
        return np.asarray(steps.astype(np.float32) * np.float32(self.scale))

    def _ends(self) -> tuple[int, int]:
        ends = np.iinfo(self.dtype)
        return int(ends.min), int(ends.max)

    def __str__(self) -> str:
        return f"scale {self.scale:.9g} zero point {self.zero_point}"
