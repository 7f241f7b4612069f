"""Cells and what they see, the checksum of a map, and what is no map."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecdd.bundle import load_bundle
from ecdd.contract.model_sections import PatchGrid
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration, probability
from ecdd.inference.patch_grid import PixelBox, cell_box, cell_box_in_picture, cells_seeing, standing_for, unseen_from
from ecdd.inference.stages import ModelOutputError, argmax_cell, judge, map_checksum
from ecdd.runtimes.base import ModelOutputs

pytestmark = pytest.mark.experiment("E3.1", rules=True)

POLICY = load_bundle("tiny").contract.policy
GRID, POOLING = POLICY.patch_grid, POLICY.pooling

SEEDED = settings(deadline=None, max_examples=60, derandomize=True)

grids = st.builds(
    lambda rows, cols, stride, field, padding: GRID.model_copy(
        update={"rows": rows, "cols": cols, "stride": stride, "receptive_field": field, "padding": padding}
    ),
    *(st.integers(1, 12), st.integers(1, 12), st.integers(1, 16), st.integers(1, 24), st.integers(0, 4)),
)


@SEEDED
@given(grids, st.data())
def test_cells_seeing_is_the_inverse_of_cell_box(grid: PatchGrid, data: st.DataObject) -> None:
    y, x = data.draw(st.integers(-8, 220)), data.draw(st.integers(-8, 220))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    box = PixelBox(y, x, y + height, x + width)
    rows, cols = cells_seeing(box, grid)
    for i, j in itertools.product(range(grid.rows), range(grid.cols)):
        cell = cell_box(i, j, grid)
        shares = cell.y0 < box.y1 and box.y0 < cell.y1 and cell.x0 < box.x1 and box.x0 < cell.x1
        assert shares == (i in rows and j in cols), f"cell {(i, j)} with {cell} against {box}"


def test_an_empty_box_is_seen_by_no_cell() -> None:
    rows, cols = cells_seeing(PixelBox(10, 10, 10, 12), GRID)
    assert len(rows) == 0
    assert len(cols) > 0


def test_the_shipped_grid_sees_248_rows_and_no_more() -> None:
    assert cell_box(0, 0, GRID) == (0, 0, 9, 9)
    assert cell_box(30, 30, GRID) == (240, 240, 249, 249)
    assert unseen_from(GRID) == (249, 249)
    rows, cols = cells_seeing(PixelBox(249, 249, 256, 256), GRID)
    assert (len(rows), len(cols)) == (0, 0)
    assert list(cells_seeing(PixelBox(248, 0, 249, 1), GRID)[0]) == [30]
    assert list(cells_seeing(PixelBox(8, 0, 9, 1), GRID)[0]) == [0, 1], "row 8 is seen by two cells"


@pytest.mark.parametrize("cell", [(-1, 0), (0, -1), (31, 0), (0, 31)])
def test_a_cell_outside_the_grid_is_refused(cell: tuple[int, int]) -> None:
    with pytest.raises(IndexError, match="outside the grid"):
        cell_box(*cell, GRID)


def test_a_cell_goes_back_to_the_picture_through_the_crop() -> None:
    box = cell_box_in_picture(2, 5, GRID, (100, 40, 100 + 512, 40 + 128), 256)
    assert box == pytest.approx((100 + 40 * 2, 40 + 16 / 2, 100 + 49 * 2, 40 + 25 / 2))


def test_a_cell_that_sees_everything_stands_for_its_tile() -> None:
    assert standing_for(GRID, 256) is GRID
    wide = {"rows": 8, "cols": 8, "stride": 32, "receptive_field": 787, "padding": 362}
    tiles = standing_for(GRID.model_copy(update=wide), 256)
    assert [cell_box(i, 1, tiles) for i in (0, 7)] == [PixelBox(0, 32, 32, 64), PixelBox(224, 32, 256, 64)]


def test_the_checksum_names_its_rounding_and_feels_one_step() -> None:
    values = np.linspace(-3, 3, 961, dtype=np.float32).reshape(31, 31)
    checksum = map_checksum(values, 0.001)
    assert checksum.startswith("sha256-int32-31x31-step0.001:")
    assert len(checksum.split(":")[1]) == 64
    centre = np.rint(values / 0.001).astype(np.float32) * np.float32(0.001)
    assert map_checksum(centre + np.float32(0.0002), 0.001) == map_checksum(centre, 0.001)
    other = values.copy()
    other[4, 5] += np.float32(0.002)
    assert map_checksum(other, 0.001) != checksum
    assert map_checksum(np.ascontiguousarray(values.T), 0.001) != checksum, "a transposed map must have another one"


def test_the_largest_cell_is_the_first_among_equals() -> None:
    values = np.zeros((31, 31), np.float32)
    assert argmax_cell(values) == (0, 0)
    values[3, 7] = values[9, 1] = 2
    assert argmax_cell(values) == (3, 7)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (np.zeros((1, 30, 31), np.float32), "float32 (1, 30, 31)"),
        (np.zeros((2, 31, 31), np.float32), "float32 (2, 31, 31)"),
        (np.zeros((1, 31, 31), np.float64), "float64"),
        (np.full((1, 31, 31), np.nan, np.float32), "not finite"),
        (np.full((1, 31, 31), -np.inf, np.float32), "not finite"),
    ],
)
def test_nothing_of_a_broken_map_is_used(broken: NDArray[Any], what: str) -> None:
    with pytest.raises(ModelOutputError) as caught:
        judge(ModelOutputs(broken, None), 1, GRID, POOLING, UNCALIBRATED)
    assert what in str(caught.value)


def test_judge_keeps_the_order_of_faces() -> None:
    batch = np.stack([np.full((31, 31), value, np.float32) for value in (1.0, -2.0, 0.5)])
    judged = judge(ModelOutputs(batch, None), 3, GRID, POOLING, AppliedCalibration(2.0, 0.1))
    assert [face.pooled_logit for face in judged] == pytest.approx([1.0, -2.0, 0.5])
    assert [face.calibrated_logit for face in judged] == pytest.approx([0.6, -0.9, 0.35])
    assert all(face.probability == probability(face.calibrated_logit) for face in judged)
