"""E3.7 sees a wide network's cells where they are, and every arrangement that is not theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.bundle import bundle_path
from ecdd.contract.loading import load_contract
from ecdd.evidence.applicability import RULED_OUT
from ecdd.evidence.collecting import Evidence
from ecdd.inference.patch_grid import cell_box
from ecdd.runtimes.onnx import OnnxRuntime
from gates.g3.test_e3_7_influence import measure_influence
from gates.support.occlusion import ARRANGEMENTS
from gates.support.wide_network import wide_onnx, wide_policy

POLICY = load_contract(bundle_path("tiny") / "policy_contract.yaml").policy


class Remembering:
    """A runtime that computes each batch once: every defect below is planted behind the same maps."""

    def __init__(self, runtime: OnnxRuntime) -> None:
        self.runtime = runtime
        self.known: dict[str, Any] = {}

    def patch_map(self, batch: Any) -> Any:
        key = hashlib.sha256(batch.tobytes()).hexdigest()
        if key not in self.known:
            self.known[key] = self.runtime.patch_map(batch)
        return self.known[key]


class Arranged:
    """A runtime whose map is planted with a defect."""

    def __init__(self, runtime: Any, change: Callable[[Any], Any]) -> None:
        self.runtime, self.change = runtime, change

    def patch_map(self, batch: Any) -> Any:
        return np.stack([self.change(one) for one in self.runtime.patch_map(batch)])


@pytest.fixture(scope="module")
def wide() -> Remembering:
    pytest.importorskip("onnx")
    return Remembering(OnnxRuntime(wide_onnx(seed=3)))


def _failed(wide: Any, change: Callable[[Any], Any], folder: Path) -> set[str]:
    evidence = Evidence("E3.7", "unit", folder)
    measure_influence(evidence, "onnx", Arranged(wide, change), wide_policy(POLICY))
    assert len(evidence.metrics) == 2
    return {metric.name for metric in evidence.metrics if metric.verdict != "pass"}


def test_a_wide_network_passes_as_it_is(wide: Remembering, tmp_path: Path) -> None:
    assert _failed(wide, lambda one: one, tmp_path) == set()


@pytest.mark.parametrize("name", sorted(ARRANGEMENTS))
def test_another_arrangement_is_seen_twice(wide: Remembering, tmp_path: Path, name: str) -> None:
    assert _failed(wide, ARRANGEMENTS[name], tmp_path) == {
        "onnx_farthest_centre_of_mass",
        "onnx_distance_against_the_nearest_other_arrangement",
    }


def test_a_map_that_nothing_moves_fails(wide: Remembering, tmp_path: Path) -> None:
    assert _failed(wide, lambda one: one * 0, tmp_path)


@pytest.mark.parametrize(("field", "padding", "whole"), [(287, 127, False), (787, 362, True), (9, 0, False)])
def test_the_whole_picture_is_seen_where_every_box_covers_it(field: int, padding: int, whole: bool) -> None:
    shape = {"rows": 8, "cols": 8, "stride": 32, "receptive_field": field, "padding": padding}
    grid = POLICY.patch_grid.model_copy(update=shape)
    side = POLICY.pixel_pipeline.input_size
    boxes = [cell_box(row, col, grid) for row in range(grid.rows) for col in range(grid.cols)]
    covered = all(min(b.y0, b.x0) <= 0 and min(b.y1, b.x1) >= side for b in boxes)
    assert grid.sees_whole_picture(side) is covered is whole
    values = {f"patch_grid.{key}": value for key, value in grid.model_dump().items()}
    assert RULED_OUT["E3.2"]["patch_grid.receptive_field"](values | {"pixel_pipeline.input_size": side}) is whole
