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
from numpy.typing import NDArray

from ecdd.runtimes.registry import load_runtime
from gates.support.fixtures import Bundle, Evidence, NotApplicable, PolicyContract
from gates.support.influence import textured
from gates.support.occlusion import (
    arrangement_errors,
    astray,
    centre_of_mass,
    centres,
    held_cells,
    near_period,
    tile_influence,
)
from gates.support.seeded_networks import require_torch, require_weights

RUNTIMES = ("tflite", "onnx")
WHOLE, NEAR = range(2), range(32)  # seeds: to find a place in the picture, to weigh tiles beside each other
GRADIENTS = 25  # cells, evenly spread: one backward pass each


@pytest.mark.usefixtures("evidence_map")
@pytest.mark.experiment("E3.7")
def test_influence_comes_from_the_cells_own_place(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """By occlusion, on the files that ship: every tile of the picture is exchanged in turn."""
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
    influence = tile_influence(runtime, grid, side, WHOLE)
    period = near_period(grid)
    near_by = tile_influence(runtime, grid, side, NEAR, period)
    middles = (np.arange(len(influence)) + 0.5) * grid.stride
    rows, cols = centres(grid)
    found, off = np.full((grid.rows, grid.cols, 2), np.nan), []
    for row in range(grid.rows):
        for col in range(grid.cols):
            whole = centre_of_mass(influence[:, :, row, col], (middles, middles), (rows[row], cols[col], np.inf))
            found[row, col] = whole
    held = held_cells(grid, side)
    for row, col in held:
        half = min(rows[row], cols[col], side - rows[row], side - cols[col])
        if period < len(influence):  # further away the same tiles come again
            half = min(half, period * grid.stride / 2 - 1)
        near = centre_of_mass(near_by[:, :, row, col], (middles, middles), (rows[row], cols[col], half))
        off.append((astray(near, (rows[row], cols[col]), grid.stride), f"({row}, {col})"))
    _hold_centres(evidence, name, off)
    errors = arrangement_errors(found, grid)
    stated = errors.pop("as stated")
    nearest = min(errors, key=lambda key: errors[key])
    evidence.check(f"{name}_distance_against_the_nearest_other_arrangement", stated / errors[nearest], limit=1, op="<",
                   unit="ratio", worst=[nearest], n=len(errors))  # fmt: skip
    shares = [_share(influence[:, :, row, col], (rows[row], cols[col]), grid.stride) for row, col in held]
    evidence.measure(f"{name}_least_share_of_influence_in_the_tile", min(shares, default=float("nan")))
    evidence.measure(f"{name}_mean_share_of_influence_in_the_tile", float(np.mean(shares)) if shares else float("nan"))


def _hold_centres(evidence: Any, name: str, off: list[tuple[float, str]]) -> None:
    """A centre that cannot be computed counts as the farthest."""
    worst, cell = max(((np.inf if np.isnan(far) else far, cell) for far, cell in off), default=(np.nan, "no cell"))
    evidence.check(f"{name}_farthest_centre_of_mass", worst, limit=0.5, unit="stride", worst=[cell], n=len(off))


def _share(influence: NDArray[np.float64], at: tuple[float, float], stride: int) -> float:
    """Part of the influence that comes from the cell's tile; a tile that is cut counts by its covered part."""
    first = np.arange(len(influence)) * stride
    rows, cols = (
        np.clip(np.minimum(first + stride, middle + stride / 2) - np.maximum(first, middle - stride / 2), 0, None)
        for middle in at
    )
    return float(rows @ influence @ cols / stride**2 / influence.sum())


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
    out, pixels, off = network(x)[0], np.arange(side) + 0.5, []
    rows, cols = centres(grid)
    held = held_cells(grid, side)
    for row, col in held[:: max(1, len(held) // GRADIENTS)]:
        (gradient,) = torch.autograd.grad(out[row, col], x, retain_graph=True)
        share = gradient[0].abs().sum(dim=0).numpy()
        half = min(rows[row], cols[col], side - rows[row], side - cols[col])
        near = centre_of_mass(share, (pixels, pixels), (rows[row], cols[col], half))
        off.append((astray(near, (rows[row], cols[col]), grid.stride), f"({row}, {col})"))
    _hold_centres(evidence, "gradient", off)


def _require_wide(policy: PolicyContract) -> None:
    if policy.patch_grid.box[0] <= policy.patch_grid.stride:
        raise NotApplicable("influence from outside the cell", "patch_grid.receptive_field")
