"""Where the influence on every cell comes from, in S4 pixels, and which arrangement of the map explains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.model_sections import PatchGrid
from gates.support.influence import textured

Array = NDArray[np.float64]


def band_influence(runtime: Any, grid: PatchGrid, side: int, seeds: range, period: int = 0) -> tuple[Array, Array]:
    """Mean squared move of every cell when a row, or a column, of tiles of stride x stride px is exchanged.

    Squares, because the variances that independent pixels cause add up: a tile of which one line is seen counts by
    that line, and a row of tiles by the sum of its tiles. A centre of mass needs only these sums along either axis, for
    which tiles need not be exchanged one by one.

    Parameters
    ----------
    runtime : PatchRuntime
        Gives the maps.
    grid : PatchGrid
        Geometry.
    side : int
        Of the picture, px.
    seeds : range
        One pair of seeded tensors each.
    period : int
        Above 0: bands that are so many tiles apart are exchanged together, which is far cheaper. The result then says
        where influence comes from only within half a period of a cell.

    Returns
    -------
    tuple of ndarray, float64, shape (tiles, rows, cols)
        Logit squared by row of tiles, and by column of tiles.
    """
    tiles = -(-side // grid.stride)
    phases = min(period or tiles, tiles)
    tile_of = np.arange(side) // grid.stride % phases
    moves = np.zeros((2, phases, grid.rows, grid.cols))
    for seed in seeds:
        base, other = textured(seed, side), textured(seed + 1000, side)
        before = runtime.patch_map(base)[0].astype(np.float64)
        for axis, shape in enumerate(((1, side, 1, 1), (1, 1, side, 1))):
            for phase in range(phases):
                changed = np.where((tile_of == phase).reshape(shape), other, base)
                moves[axis, phase] += (runtime.patch_map(changed)[0] - before) ** 2
    rows, cols = moves[:, np.arange(tiles) % phases] / len(seeds)
    return rows, cols


def own_influence(runtime: Any, grid: PatchGrid, side: int, seeds: range, cells: list[tuple[int, int]]) -> Array:
    """Mean squared move of each cell when its own tile alone, stride x stride px around its middle, is exchanged."""
    rows, cols = centres(grid)
    moves = np.zeros(len(cells))
    for seed in seeds:
        base, other = textured(seed, side), textured(seed + 1000, side)
        before = runtime.patch_map(base)[0].astype(np.float64)
        for k, cell in enumerate(cells):
            own = [tile_cover(at, grid.stride, side) > 0 for at in (rows[cell[0]], cols[cell[1]])]
            changed = np.where(np.logical_and.outer(*own)[None, :, :, None], other, base)
            moves[k] += (runtime.patch_map(changed)[0][cell] - before[cell]) ** 2
    return moves / len(seeds)


def tile_cover(middle: float, stride: int, side: int) -> Array:
    """Part of every pixel along one axis that lies in the tile around a middle, 0 to 1, shape (side,)."""
    first = np.arange(side)
    return np.clip(np.minimum(first + 1, middle + stride / 2) - np.maximum(first, middle - stride / 2), 0, 1)


def near_period(grid: PatchGrid) -> int:
    """Tiles from one exchanged tile to the next, so that no box touches two."""
    return -(-grid.box[0] // grid.stride) + 1


def centres(grid: PatchGrid) -> tuple[Array, Array]:
    """Middle of every cell's box along rows and columns, px; pixels begin at whole numbers."""
    field, before = grid.box
    middle = field / 2 - before
    return grid.stride * np.arange(grid.rows) + middle, grid.stride * np.arange(grid.cols) + middle


def held_cells(grid: PatchGrid, side: int) -> list[tuple[int, int]]:
    """Cells whose box, or two strides of it to either side of its middle, lies in the picture.

    Nearer to the border the picture ends before the influence does, which draws its centre inwards; such cells are
    held by the arrangement alone.
    """
    reach = min(grid.box[0] / 2, 2 * grid.stride)
    rows, cols = ([k for k, at in enumerate(axis) if at - reach >= 0 and at + reach <= side] for axis in centres(grid))
    return [(row, col) for row in rows for col in cols]


def centre_of_mass(share: Array, positions: Array, middle: float, half: float = np.inf) -> float:
    """Centre of the influence on one cell along one axis, px.

    Parameters
    ----------
    share : ndarray, shape (places,)
        Influence, not negative.
    positions : ndarray, shape (places,)
        Middle of the places, px.
    middle, half : float
        Middle of the window and half its length, px: as much of the picture on either side.

    Returns
    -------
    float
        NaN where nothing in the window has influence.
    """
    seen = np.abs(positions - middle) <= half
    total = share[seen].sum()
    return float(share[seen] @ positions[seen] / total) if total > 0 else float("nan")


ARRANGEMENTS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda a: a.swapaxes(0, 1),
    "rows mirrored": lambda a: a[::-1],
    "columns mirrored": lambda a: a[:, ::-1],
    "turned by 180 degrees": lambda a: a[::-1, ::-1],
    "turned by 90 degrees": lambda a: a.swapaxes(0, 1)[::-1],
    "turned by 270 degrees": lambda a: a.swapaxes(0, 1)[:, ::-1],
    "transposed across": lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    "shifted a row down": lambda a: np.roll(a, 1, 0),
    "shifted a row up": lambda a: np.roll(a, -1, 0),
    "shifted a column right": lambda a: np.roll(a, 1, 1),
    "shifted a column left": lambda a: np.roll(a, -1, 1),
}


def arrangement_errors(found: Array, grid: PatchGrid) -> dict[str, float]:
    """Mean distance, in strides, of all cells' centres of mass from where each arrangement would have them.

    Parameters
    ----------
    found : ndarray, shape (rows, cols, 2)
        Centres of mass over the whole picture, px.
    grid : PatchGrid
        Geometry. A grid that is not square cannot be transposed or turned unnoticed, so these are left out.

    Returns
    -------
    dict of str to float
        ``as stated`` first.
    """
    expected = np.stack(np.meshgrid(*centres(grid), indexing="ij"), axis=-1)
    places = {"as stated": expected}
    for name, arrange in ARRANGEMENTS.items():
        moved = arrange(expected)
        if moved.shape == expected.shape and not np.array_equal(moved, expected):
            places[name] = moved
    return {name: float(np.abs(found - place).mean() / grid.stride) for name, place in places.items()}
