"""E5.2: the patch maps of every mode against the float reference's, on the same tensors.

A cell that saw an edge of more than 127 levels loses what 8 bits cannot hold, so that with integer activations single
cells may move; what the map is for holds all the same: its mean, its ranks, and which cell is the worst. There the
largest difference is recorded and drawn, not limited.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecdd.parity.drawing import draw_worst
from ecdd.parity.patch_map_parity import patch_parity
from gates.g5.conftest import MODES, SameTensors, held_to_limits, missing, runtime_of

INTEGER_ACTIVATIONS = ("dynamic_range", "full_int8", "int16x8")


@pytest.mark.experiment("E5.2")
@pytest.mark.parametrize("mode", MODES)
def test_maps_agree(evidence: Any, bundle: Any, policy: Any, same_tensors: SameTensors, mode: str) -> None:
    if missing(evidence, bundle, mode):
        return
    grid, limits, names = policy.patch_grid, policy.quantization, same_tensors.names
    found = runtime_of(bundle, policy, mode).outputs(same_tensors.batch)
    evidence.check(f"{mode}_shape", list(found.maps.shape[1:]), limit=[grid.rows, grid.cols], op="==")
    parity = patch_parity(same_tensors.reference.maps, found.maps)
    worst, n = parity.worst, len(names)
    measured = {
        f"{mode}_mean_difference": (parity.mean, limits.max_mean_patch_difference, "<=", "spread"),
        f"{mode}_rank_correlation": (parity.rank_correlation, limits.min_rank_correlation, ">=", ""),
        f"{mode}_argmax_loss": (parity.argmax_loss, limits.max_argmax_loss, "<=", "spread"),
        f"{mode}_largest_difference": (parity.largest, limits.max_patch_difference, "<=", "spread"),
    }
    for name, (values, limit, op, unit) in measured.items():
        far = int(values.argmax() if op == "<=" else values.argmin())
        free = name.endswith("largest_difference") and mode in INTEGER_ACTIVATIONS
        if held_to_limits(mode, policy) and not free:
            mean = float(values.mean())
            evidence.check(name, float(values[far]), limit=limit, op=op, unit=unit, worst=[names[far]], mean=mean, n=n)
        else:
            evidence.measure(name, float(values[far]), unit)
    evidence.measure(f"{mode}_same_argmax_cell", float(parity.same_argmax.mean()), "share")
    if mode != "float32":
        maps = same_tensors.reference.maps[worst], found.maps[worst]
        caption = f"{names[worst]}: the float reference's map, the {mode} file's, and the difference (logit)"
        evidence.figure(f"worst_{mode}", draw_worst(*maps), caption)
        caption = f"Mean |difference| of every cell over {n} golden faces, {mode} (logit): no pattern of the grid shows"
        evidence.figure(f"cells_{mode}", draw_worst(parity.per_cell), caption)


@pytest.mark.experiment("E5.2")
def test_a_wrong_pixel_would_show(evidence: Any, same_tensors: SameTensors) -> None:
    """The metrics see a map whose pixels are off by one, and a transposed one."""
    maps = same_tensors.reference.maps
    for name, wrong in (("shifted", np.roll(maps, 1, axis=2)), ("transposed", maps.transpose(0, 2, 1))):
        parity = patch_parity(maps, wrong)
        evidence.check(f"{name}_mean_difference", float(np.median(parity.mean)), limit=0.2, op=">", unit="spread")
