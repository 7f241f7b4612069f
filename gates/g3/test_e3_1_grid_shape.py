"""E3.1: the grid has the contract's shape for teacher and student, and its cells come row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.contract.layer_geometry import NETWORK_LAYERS, compose, grid_mismatches, layers_of
from ecdd.detector import load_runtime
from ecdd.inference.patch_grid import cell_box

RUNTIMES = ("tflite", "onnx")
# Far from both diagonals and from each other's mirror images: a transposed or reversed order is another cell.
PROBES = ((2, 20), (27, 9), (14, 3), (0, 30))


def textured(seed: int, side: int) -> NDArray[np.float32]:
    """A seeded S4 batch of one, (1, side, side, 3), without any symmetry."""
    return np.random.default_rng(seed).normal(0, 1, (1, side, side, 3)).astype(np.float32)


@pytest.mark.experiment("E3.1")
def test_contract_states_what_the_layers_compose_to(evidence: Any, policy: Any) -> None:
    """For every architecture: rows, columns, stride, receptive field and padding follow from the layer list."""
    wrong = [line for name in sorted(NETWORK_LAYERS) for line in grid_mismatches(policy, name)]
    evidence.none("contract_values_differing_from_layers", wrong, n=5 * len(NETWORK_LAYERS), unit="value")
    operator, side = policy.patch_grid.input_operator, policy.pixel_pipeline.input_size
    grids = {compose(layers_of(name, operator), side, side) for name in NETWORK_LAYERS}
    evidence.check("different_grids", len(grids), limit=1, op="==", unit="grid", n=len(NETWORK_LAYERS))


@pytest.mark.experiment("E3.1")
def test_shipped_files_give_the_contracts_shape(evidence: Any, bundle: Any, policy: Any) -> None:
    """One batch of one and one of three, TFLite and ONNX."""
    grid, side, wrong, n = policy.patch_grid, policy.pixel_pipeline.input_size, [], 0
    for name in RUNTIMES:
        runtime = load_runtime(bundle, name, 1)
        for count in (1, 3):
            maps = runtime.patch_map(np.repeat(textured(0, side), count, axis=0))
            n += 1
            if maps.shape != (count, grid.rows, grid.cols) or maps.dtype != np.float32:
                wrong.append(f"{name}: {maps.dtype} {maps.shape}")
    evidence.none("maps_of_another_shape", wrong, n=n, unit="map")


@pytest.mark.experiment("E3.1")
def test_cells_come_row_by_row(evidence: Any, bundle: Any, policy: Any) -> None:
    """Changing the middle of one cell's box moves that cell more than any that does not touch it."""
    grid, side, wrong, n = policy.patch_grid, policy.pixel_pipeline.input_size, [], 0
    for name in RUNTIMES:
        runtime, base = load_runtime(bundle, name, 1), textured(1, side)
        before = runtime.patch_map(base)[0]
        for row, col in PROBES:
            box, changed = cell_box(row, col, grid), base.copy()
            changed[0, box.y0 + 2 : box.y1 - 2, box.x0 + 2 : box.x1 - 2] += 1.0
            moved = np.argwhere(runtime.patch_map(changed)[0] != before)
            n += 1
            if moved.tolist() != [[row, col]]:
                wrong.append(f"{name}: the box of cell ({row}, {col}) moved cells {moved.tolist()[:3]}")
    evidence.none("boxes_that_move_another_cell", wrong, n=n, unit="box")


@pytest.mark.experiment("E3.1")
def test_networks_give_the_shape_and_order_too(evidence: Any, policy: Any) -> None:
    """Teacher of reduced width and student, seeded weights, in torch; also for a tensor that is not square."""
    torch = pytest.importorskip("torch", reason="not tested here: torch is not installed (make test installs it)")
    from ecdd.models.architectures import build_network

    grid, wrong, n = policy.patch_grid, [], 0
    for name, width in (("ladeda9", 0.1875), ("tiny_ladeda", 1.0)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = build_network(name, grid.input_operator, grid.operator_scale, width).eval()
        for height, breadth in ((policy.pixel_pipeline.input_size,) * 2, (256, 320)):
            generator = torch.Generator().manual_seed(6)
            x = torch.randn(1, 3, height, breadth, generator=generator)
            composed = compose(layers_of(name, grid.input_operator), height, breadth)
            with torch.inference_mode():
                before = network(x)[0]
                changed = x.clone()
                changed[..., 18:23, 162:167] += 1.0
                moved = (network(changed)[0] != before).nonzero().tolist()
            n += 1
            if tuple(before.shape) != (composed.rows, composed.cols) or moved != [[2, 20]]:
                wrong.append(f"{name} {height}x{breadth}: shape {tuple(before.shape)}, moved {moved[:3]}")
    evidence.none("networks_of_another_shape_or_order", wrong, n=n, unit="network")
