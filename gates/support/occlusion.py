"""Where the influence on every cell comes from, in S4 pixels, and which arrangement of the map explains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.model_sections import PatchGrid
from gates.support.influence import textured

Array = NDArray[np.float64]


def tile_influence(runtime: Any, grid: PatchGrid, side: int, seeds: range, period: int = 0) -> Array:
    """Mean squared move of every cell when tiles of stride x stride px are exchanged.

    Squares, because the variances that independent pixels cause add up: a tile of which one line is seen counts by
    that line.

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
        Above 0: tiles that are so many tiles apart are exchanged together, which is far cheaper. The result then says
        where influence comes from only within half a period of a cell.

    Returns
    -------
    ndarray, float64, shape (tile rows, tile cols, rows, cols)
        Logit squared.
    """
    tiles = -(-side // grid.stride)
    phases = min(period or tiles, tiles)
    tile_of = np.arange(side) // grid.stride % phases
    moves = np.zeros((phases, phases, grid.rows, grid.cols))
    for seed in seeds:
        base, other = textured(seed, side), textured(seed + 1000, side)
        before = runtime.patch_map(base)[0].astype(np.float64)
        for y in range(phases):
            for x in range(phases):
                chosen = np.logical_and.outer(tile_of == y, tile_of == x)
                changed = np.where(chosen[None, :, :, None], other, base)
                moves[y, x] += (runtime.patch_map(changed)[0] - before) ** 2
    phase = np.arange(tiles) % phases
    return moves[np.ix_(phase, phase)] / len(seeds)


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


def centre_of_mass(share: Array, positions: tuple[Array, Array], within: tuple[float, float, float]) -> Array:
    """Centre of the influence on one cell, px, as (row, column).

    Parameters
    ----------
    share : ndarray, shape (places along rows, places along columns)
        Influence, not negative.
    positions : tuple of ndarray
        Middle of the places along rows and along columns, px.
    within : tuple of float
        Middle of the window, row and column, and half its side, px: as much of the picture on either side.

    Returns
    -------
    ndarray, shape (2,)
        NaN where nothing in the window has influence.
    """
    y, x, half = within
    rows, cols = np.abs(positions[0] - y) <= half, np.abs(positions[1] - x) <= half
    part = share[np.ix_(rows, cols)]
    total = part.sum()
    if not total > 0:
        return np.full(2, np.nan)
    return np.array([part.sum(1) @ positions[0][rows], part.sum(0) @ positions[1][cols]]) / total


def astray(found: Array, at: tuple[float, float], stride: int) -> float:
    """Distance of a centre of mass from the cell's middle along the worse axis, in strides; above 0.5 is outside."""
    return float(np.abs(found - np.array(at)).max() / stride)


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
