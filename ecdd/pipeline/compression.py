"""How heavily a picture was compressed: JPEG quality from its tables, and 8x8 blockiness from its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# ITU-T T.81 (JPEG), tables K.1 and K.2, row by row.
STANDARD_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
STANDARD_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
BLOCK = 8
# Levels added to both sides of the ratio: without it a smooth face at quality 90 reads like a textured one at 20.
# Of 0.05 … 5 the larger values separated quality 30 from 75 best on re-encoded portraits (AUC 0.94 at 0.05, 0.99
# from 3 on); a flat picture gives 1, not 0 / 0.
STEP_FLOOR = 4.0

Kind = Literal["exact", "estimated", "unknown"]


@dataclass(frozen=True)
class JpegQuality:
    """Quality on the scale of the IJG library.

    Attributes
    ----------
    value : float or None
        1 … 100; None when unknown (PNG and WebP say nothing about earlier compression).
    kind : {"exact", "estimated", "unknown"}
        Exact: the tables are those of this quality. Estimated: other tables, quality of like coarseness.
    """

    value: float | None
    kind: Kind


@lru_cache(maxsize=1)
def _standard_tables() -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """The 100 pairs (luma, chroma), index 0 for quality 1."""
    return tuple(
        (scaled_table(STANDARD_LUMA, quality), scaled_table(STANDARD_CHROMA, quality)) for quality in range(1, 101)
    )


@lru_cache(maxsize=1)
def _quality_of_luma() -> dict[tuple[int, ...], int]:
    """Quality of each standard luma table; all 100 differ."""
    return {luma: quality for quality, (luma, _) in enumerate(_standard_tables(), start=1)}


def scaled_table(base: Sequence[int], quality: int) -> tuple[int, ...]:
    """IJG scaling: 5000 / q percent below 50, 200 - 2q from there, rounded half up, kept in 1 … 255."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((value * percent + 50) // 100, 1), 255) for value in base)


def jpeg_quality(tables: Sequence[Sequence[int]] | None) -> JpegQuality:
    """Quality from the quantisation tables of a file, as Pillow gives them (row by row).

    Parameters
    ----------
    tables : sequence of sequence of 64 int, or None
        Luma first, then chroma; one table in a grey JPEG. None or empty: no JPEG.

    Returns
    -------
    JpegQuality
        Exact when luma and every chroma table are a standard pair; otherwise estimated: for each table the
        quality whose standard table has the nearest mean, luma counting as much as all chroma together. The
        mean is compared with the *finished* standard tables, because below quality 25 their clipping at 255
        makes the plain ratio read several points too high.
    """
    if not tables:
        return JpegQuality(None, "unknown")
    luma, chroma = tuple(tables[0]), [tuple(table) for table in tables[1:]]
    quality = _quality_of_luma().get(luma)
    if quality is not None and all(table in _standard_tables()[quality - 1] for table in chroma):
        return JpegQuality(float(quality), "exact")
    values = [float(_nearest_quality(sum(luma), 0))]
    if chroma:
        values.append(sum(_nearest_quality(sum(table), 1) for table in chroma) / len(chroma))
    return JpegQuality(sum(values) / len(values), "estimated")


@lru_cache(maxsize=256)
def _nearest_quality(total: int, component: int) -> int:
    """Quality whose standard table (0 luma, 1 chroma) has the nearest sum; the lower of two equally near."""
    sums = [sum(pair[component]) for pair in _standard_tables()]
    return min(range(1, 101), key=lambda quality: (abs(sums[quality - 1] - total), quality))


def blockiness(grey: NDArray[np.integer]) -> float:
    """Mean step across the lines of an 8x8 grid / mean step elsewhere, at the grid position where it is largest.

    Needs native resolution: after a resize the grid is gone. The grid may lie anywhere (the crop is not aligned
    to the file's blocks), so all 8 column and 8 row positions are tried. Columns and rows are averaged and the
    *smaller* of the two counts: compression marks both directions, an edge of the scene seldom does. Survives
    re-encoding as PNG or at a high quality.

    Parameters
    ----------
    grey : ndarray of integers, shape (H, W)
        Luma 0 … 255 of the face at native resolution.

    Returns
    -------
    float
        About 1 without block artefacts; also 1 when a side is below 24 pixels, where a grid has too few lines
        to be told from the scene.
    """
    if min(grey.shape) < 3 * BLOCK:
        return 1.0
    levels = grey.astype(np.int16, copy=False)
    return min(_worst_phase(levels, axis) for axis in (0, 1))


def _worst_phase(levels: NDArray[np.int16], axis: int) -> float:
    """Largest ratio of on-grid to off-grid steps along one axis, over the 8 positions of the grid."""
    steps = np.abs(np.diff(levels, axis=axis))
    lines = steps.mean(axis=1 - axis, dtype=np.float64)
    ratios = []
    for phase in range(BLOCK):
        on_grid = lines[phase::BLOCK]
        off_mean = (lines.sum() - on_grid.sum()) / (lines.size - on_grid.size)
        ratios.append((float(on_grid.mean()) + STEP_FLOOR) / (float(off_mean) + STEP_FLOOR))
    return max(ratios)
