"""Parts of a long picture: overlapping squares along its longer side, where a finder reads faces at their full size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecdd.pipeline.face import Face

Square = tuple[int, int, int, int]


def squares(size: tuple[int, int], overlap: float) -> list[Square]:
    """Squares of the shorter side that cover a picture along its longer one.

    Neighbours share at least ``overlap`` of their side, so that a face up to that long lies whole in one of them.

    Parameters
    ----------
    size : tuple of int
        Width and height of the picture.
    overlap : float
        0 … below 1.

    Returns
    -------
    list of tuple of int
        ``x0, y0, x1, y1`` in picture pixels, half open, from left to right or from top to bottom, evenly spread.
    """
    longer, side = max(size), min(size)
    gaps = math.ceil((longer - side) / (side * (1 - overlap)))
    # integer form of floor(k * (longer - side) / gaps + 1/2): no float, no rounding differences
    starts = [(2 * k * (longer - side) + gaps) // (2 * gaps) for k in range(gaps + 1)] if gaps else [0]
    wide = size[0] >= size[1]
    return [(at, 0, at + side, side) if wide else (0, at, side, at + side) for at in starts]


def moved_by(face: Face, corner: Sequence[int]) -> Face:
    """A face found in a part, where it lies in the picture; ``corner`` is the part's first pixel, x and y."""
    x, y = corner
    x0, y0, x1, y1 = face.box
    marks = tuple((px + x, py + y) for px, py in face.landmarks)
    return dataclasses.replace(face, box=(x0 + x, y0 + y, x1 + x, y1 + y), landmarks=marks)


def is_cut(box: Sequence[float], square: Square, size: tuple[int, int]) -> bool:
    """Whether a box reaches over an edge of its square that is no edge of the picture."""
    before = any(square[k] > 0 and box[k] < square[k] for k in (0, 1))
    return before or any(square[k + 2] < size[k] and box[k + 2] > square[k + 2] for k in (0, 1))
