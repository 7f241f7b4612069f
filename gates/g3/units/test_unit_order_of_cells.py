"""E3.1 lets a cell stand still that sees a change by a corner of its box; no other arrangement is green by that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ecdd.bundle import bundle_path
from ecdd.contract.loading import load_contract
from ecdd.contract.schema import PolicyContract
from ecdd.inference.patch_grid import cell_box
from gates.g3.test_e3_1_grid_shape import PROBES, _cells, _elsewhere, _middle, _seeing
from gates.support.influence import textured
from gates.support.occlusion import ARRANGEMENTS

CELLS, STRIDE, FIELD = 9, 8, 17
# parts of a box that the kernel leaves at zero, as trained kernels do: none, one half, all but a diagonal
KERNELS: dict[str, Any] = {
    "whole": np.ones((FIELD, FIELD)),
    "left": np.repeat([[1.0] * 9 + [0.0] * 8], FIELD, axis=0),
    "upper": np.repeat([[1.0]] * 9 + [[0.0]] * 8, FIELD, axis=1),
    "diagonal": np.eye(FIELD),
}
Change = Callable[[Any], Any]


class Overlapping:
    """Cells that overlap by a pixel more than their stride, behind a kernel, in another arrangement."""

    def __init__(self, kernel: Any, change: Change) -> None:
        noise = np.random.default_rng(5).normal(0, 1, (FIELD, FIELD, 3))
        self.weights, self.change = noise * kernel[..., None], change

    def patch_map(self, batch: Any) -> Any:
        windows = np.lib.stride_tricks.sliding_window_view(batch, (FIELD, FIELD), (1, 2))[:, ::STRIDE, ::STRIDE]
        return np.stack([self.change(one) for one in np.einsum("nijcyx,yxc->nij", windows, self.weights)])


@pytest.fixture(scope="module")
def policy() -> PolicyContract:
    known = load_contract(bundle_path("tiny") / "policy_contract.yaml").policy
    grid = {"rows": CELLS, "cols": CELLS, "stride": STRIDE, "receptive_field": FIELD, "padding": 0}
    side = STRIDE * (CELLS - 1) + FIELD
    pixels = known.pixel_pipeline.model_copy(update={"input_size": side})
    return known.model_copy(update={"patch_grid": known.patch_grid.model_copy(update=grid), "pixel_pipeline": pixels})


def _red_in_order(runtime: Overlapping, policy: PolicyContract) -> bool:
    """What `test_cells_come_row_by_row` says."""
    grid, base = policy.patch_grid, textured(1, policy.pixel_pipeline.input_size)
    before, wrong = runtime.patch_map(base)[0], False
    for row, col in _cells(PROBES, grid.rows, grid.cols):
        part, changed = _middle(cell_box(row, col, grid)), base.copy()
        changed[0, *part] += 1.0
        moved = np.argwhere(runtime.patch_map(changed)[0] != before).tolist()
        wrong |= _elsewhere(moved, [row, col], _seeing(part, grid, grid.rows, grid.cols))
    return wrong


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_no_other_arrangement_is_green(kernel: str, policy: PolicyContract) -> None:
    assert not _red_in_order(Overlapping(KERNELS[kernel], lambda one: one), policy)
    for name, change in ARRANGEMENTS.items():
        assert _red_in_order(Overlapping(KERNELS[kernel], change), policy), name
