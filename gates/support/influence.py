"""Which pixels of a cell's box reach it: probes that perturb tensors, and what the input operator leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.layer_geometry import compose, layers_of
from ecdd.inference.patch_grid import cell_box
from gates.support.fixtures import PolicyContract

# Where an output of the operator reads, relative to itself; NPR reads its block and is told apart below.
_TAPS = {
    "x_grad": [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 1)],
    "y_grad": [(dy, dx) for dy in (-1, 1) for dx in (-1, 0, 1)],
    "left_diag": [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy != dx],
    "right_diag": [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy != -dx],
}


def textured(seed: int, side: int) -> NDArray[np.float32]:
    """A seeded S4 batch of one, (1, side, side, 3), without any symmetry."""
    return np.random.default_rng(seed).normal(0, 1, (1, side, side, 3)).astype(np.float32)


def reads(operator: str, y: int, x: int) -> set[tuple[int, int]]:
    """Pixels on which the operator's output at (y, x) depends.

    NPR subtracts the top-left pixel of a block of 2x2 from all four: at that pixel itself the output is always 0.
    """
    if operator == "raw":
        return {(y, x)}
    if operator == "NPR":
        corner = (y - y % 2, x - x % 2)
        return set() if corner == (y, x) else {(y, x), corner}
    return {(y + dy, x + dx) for dy, dx in _TAPS[operator]}


def null_pixels(policy: PolicyContract, architecture: str = "tiny_ladeda") -> set[tuple[int, int]]:
    """Pixels of a box that the operator keeps from its cell, relative to the box's first pixel.

    The network behind the operator reads a box of operator outputs; a pixel that none of them depends on is null.
    """
    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    behind = compose(layers_of(architecture, "raw"), side, side)
    # a cell in the middle, where no padding of the operator is read
    row, col = grid.rows // 2, grid.cols // 2
    box = cell_box(row, col, grid)
    first_y, first_x = behind.stride * row - behind.padding, behind.stride * col - behind.padding
    reached = {
        pixel
        for y in range(first_y, first_y + behind.receptive_field)
        for x in range(first_x, first_x + behind.receptive_field)
        for pixel in reads(grid.input_operator, y, x)
    }
    inside = {(y, x) for y in range(box.y0, box.y1) for x in range(box.x0, box.x1)}
    return {(y - box.y0, x - box.x0) for y, x in inside - reached}


def outside_influence(runtime: Any, policy: PolicyContract, seed: int) -> list[tuple[float, str]]:
    """Largest move of every cell when all pixels outside its box are exchanged for others."""
    grid, side, moves = policy.patch_grid, policy.pixel_pipeline.input_size, []
    inside, outside = textured(seed, side), textured(seed + 1, side)
    expected = runtime.patch_map(inside)[0]
    for row in range(grid.rows):
        for col in range(grid.cols):
            box, mixed = cell_box(row, col, grid), outside.copy()
            place = (0, slice(max(box.y0, 0), box.y1), slice(max(box.x0, 0), box.x1))
            mixed[place] = inside[place]
            moves.append((float(abs(runtime.patch_map(mixed)[0, row, col] - expected[row, col])), f"({row}, {col})"))
    return moves


def support(runtime: Any, policy: PolicyContract, seeds: range) -> NDArray[np.bool_]:
    """Union over seeded tensors of the offsets of a box whose pixel moves its cell, (field, field).

    Neighbouring boxes share a line of pixels, so only cells of even row and column are probed: one call an offset.
    """
    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    seen = np.zeros((grid.receptive_field, grid.receptive_field), bool)
    apart = -(-grid.receptive_field // grid.stride)
    boxes = [cell_box(r, c, grid) for r in range(0, grid.rows, apart) for c in range(0, grid.cols, apart)]
    for seed in seeds:
        base = textured(seed, side)
        before = runtime.patch_map(base)[0, ::apart, ::apart]
        for dy, dx in np.argwhere(~seen):
            changed = base.copy()
            places = [(b.y0 + dy, b.x0 + dx) for b in boxes if min(b.y0 + dy, b.x0 + dx) >= 0]
            rows, cols = (np.array(axis) for axis in zip(*places, strict=True))
            changed[0, rows, cols] += 2.0
            seen[dy, dx] = bool((runtime.patch_map(changed)[0, ::apart, ::apart] != before).any())
    return seen
