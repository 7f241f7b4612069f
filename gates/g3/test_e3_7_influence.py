"""E3.7 wide networks: where the field exceeds the cell, the influence of cell (i, j), measured by gradient or
occlusion, has its centre of mass inside the cell's box; no transpose, mirror or shift survives; the share of influence
inside the box is reported.

The cell's box is here its own tile: stride x stride pixels around the middle of its receptive field. A cell that sees
the whole picture proves nothing by what it does not see, and a heatmap still claims that it speaks of its place. Fails
when the centre of a cell's influence lies outside its tile, or when another arrangement of the map (transposed,
mirrored, turned, shifted by a cell) explains the centres as well as the stated one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecdd.runtimes.registry import load_runtime
from gates.support.fixtures import Bundle, Evidence, NotApplicable, PolicyContract
from gates.support.influence import textured
from gates.support.occlusion import (
    arrangement_errors,
    band_influence,
    centre_of_mass,
    centres,
    held_cells,
    near_period,
    own_influence,
    tile_cover,
)
from gates.support.seeded_networks import require_torch, require_weights

RUNTIMES = ("tflite", "onnx")
NEAR, WHOLE, OWN = range(24), range(8), range(4)  # seeds: centres near a cell, places in the picture, share of a tile
SHARES, GRADIENTS = 16, 25  # cells, evenly spread: a tile exchanged, and a backward pass, each


@pytest.mark.usefixtures("evidence_map")
@pytest.mark.experiment("E3.7")
def test_influence_comes_from_the_cells_own_place(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """By occlusion, on the files that ship: every row and every column of tiles is exchanged in turn."""
    _require_wide(policy)
    for name in RUNTIMES:
        measure_influence(evidence, name, load_runtime(bundle, name, 1), policy)


def measure_influence(evidence: Any, name: str, runtime: Any, policy: PolicyContract) -> None:
    """Hold one runtime's map to the stated place of its cells.

    Parameters
    ----------
    evidence : Evidence
        Where metrics go.
    name : str
        First part of their names.
    runtime : PatchRuntime
        Gives the maps.
    policy : PolicyContract
        ``patch_grid`` and ``pixel_pipeline.input_size``.
    """
    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    period, axes = near_period(grid), centres(grid)
    near = band_influence(runtime, grid, side, NEAR, period)
    repeats = period < len(near[0])  # further away than half a period the same bands come again
    whole = band_influence(runtime, grid, side, WHOLE) if repeats else near
    middles = (np.arange(len(near[0])) + 0.5) * grid.stride
    found = np.empty((grid.rows, grid.cols, 2))
    for cell in np.ndindex(grid.rows, grid.cols):
        found[cell] = [centre_of_mass(whole[axis][:, *cell], middles, axes[axis][cell[axis]]) for axis in (0, 1)]
    held, reach = held_cells(grid, side), period * grid.stride / 2 - 1 if repeats else np.inf
    _hold_centres(evidence, name, {cell: _astray((near[0][:, *cell], near[1][:, *cell]), middles, cell, policy, reach)
                                   for cell in held})  # fmt: skip
    errors = arrangement_errors(found, grid)
    stated = errors.pop("as stated")
    nearest = min(errors, key=lambda key: errors[key])
    evidence.check(f"{name}_distance_against_the_nearest_other_arrangement", stated / errors[nearest], limit=1, op="<",
                   unit="ratio", worst=[nearest], n=len(errors))  # fmt: skip
    some = _some(held, SHARES)
    every = sum(whole[0][:, *cell].sum() for cell in some)
    share = own_influence(runtime, grid, side, OWN, some).sum() / every if every > 0 else float("nan")
    evidence.measure(f"{name}_share_of_influence_in_the_tile", share)


def _some(cells: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    return cells[:: max(1, len(cells) // count)]


def _astray(
    shares: tuple[Any, Any], positions: Any, cell: tuple[int, int], policy: PolicyContract, reach: float
) -> float:
    """Distance of a cell's centres of mass from its middle along the worse axis, in strides; above 0.5 is outside."""
    grid, side, off = policy.patch_grid, policy.pixel_pipeline.input_size, []
    for share, axis, k in zip(shares, centres(grid), cell, strict=True):
        half = min(axis[k], side - axis[k], reach)
        off.append(abs(centre_of_mass(share, positions, axis[k], half) - axis[k]) / grid.stride)
    return float(np.max(off))


def _hold_centres(evidence: Any, name: str, off: dict[tuple[int, int], float]) -> None:
    """A centre that cannot be computed counts as the farthest."""
    worst, cell = max(((np.inf if np.isnan(far) else far, str(cell)) for cell, far in off.items()),
                      default=(np.nan, "no cell"))  # fmt: skip
    evidence.check(f"{name}_farthest_centre_of_mass", worst, limit=0.5, unit="stride", worst=[cell], n=len(off))


@pytest.mark.usefixtures("evidence_map")
@pytest.mark.experiment("E3.7")
def test_gradients_come_from_the_cells_own_place(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """By gradient, pixel by pixel, of the bundle's own weights."""
    _require_wide(policy)
    torch = require_torch("influence by gradient")
    weights = require_weights(bundle, "influence by gradient")
    from ecdd.models.checkpoint import load_weights

    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    network = load_weights(weights)[0].double()
    x = torch.from_numpy(textured(7, side).transpose(0, 3, 1, 2).astype(np.float64)).requires_grad_()
    out, pixels, off, shares = network(x)[0], np.arange(side) + 0.5, {}, []
    for cell in _some(held_cells(grid, side), GRADIENTS):
        (gradient,) = torch.autograd.grad(out[cell], x, retain_graph=True)
        sizes = gradient[0].abs().sum(dim=0).numpy()
        off[cell] = _astray((sizes.sum(1), sizes.sum(0)), pixels, cell, policy, np.inf)
        rows, cols = (tile_cover(axis[k], grid.stride, side) for axis, k in zip(centres(grid), cell, strict=True))
        squares = (gradient[0] ** 2).sum(dim=0).numpy()
        shares.append(float(rows @ squares @ cols / squares.sum()))
    _hold_centres(evidence, "gradient", off)
    evidence.measure("gradient_least_share_of_influence_in_the_tile", min(shares, default=float("nan")))


def _require_wide(policy: PolicyContract) -> None:
    if policy.patch_grid.box[0] <= policy.patch_grid.stride:
        raise NotApplicable("influence from outside the cell", "patch_grid.receptive_field")
