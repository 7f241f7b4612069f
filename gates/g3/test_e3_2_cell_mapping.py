"""E3.2 cell to pixel mapping: in S4 coordinates no pixel outside the box of cell (i, j) has any influence on it
(exact zero), and the union of supports over seeded inputs and weights is the box less the operator's null pixels; the
strip that no cell sees is asserted, drawn and stated; boxes also map back to pixels of the source picture; an overlay
is rendered for a person to see.

A heatmap that points beside what the model saw misleads whoever trusts it. Fails when an exchanged or moved pixel
outside a cell's box changes the cell, when one inside never does, or when paint in the file changes another cell than
its box says.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.heatmap import heatmap
from ecdd.inference.patch_grid import cell_box, cell_box_in_picture, unseen_from
from ecdd.inference.stages import argmax_cell
from ecdd.pipeline.decode import Decoded
from ecdd.pipeline.face import CropBox
from ecdd.pipeline.orientation import box_to_stored, upright
from ecdd.pipeline.preprocess import cut, normalise, resize
from ecdd.pipeline.stages import PreparedFace
from ecdd.runtimes.base import PatchRuntime
from ecdd.runtimes.registry import load_runtime
from gates.support.drawn_grid import draw_grid
from gates.support.fixtures import (
    Bundle,
    Evidence,
    GoldenItem,
    GoldenNow,
    GoldenSet,
    NotApplicable,
    PolicyContract,
    Prepared,
)
from gates.support.influence import null_pixels, outside_influence, support, textured
from gates.support.portraits import png
from gates.support.seeded_networks import ARCHITECTURES, require_torch, seeded_network, trained_networks

RUNTIMES = ("tflite", "onnx")
FIELD = "patch_grid.receptive_field"
# Parts of the grid's height and width, off both diagonals.
PROBES = ((0, 0), (0.1, 0.87), (0.5, 0.5), (0.9, 0.2))
# Half width of Pillow's kernels, in output pixels when reducing and in input pixels when enlarging.
KERNEL_RADIUS = {"nearest": 0.5, "box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def _require_outside(policy: PolicyContract, what: str) -> None:
    """Where every cell sees the whole picture nothing lies outside a box; E3.7 says then where influence comes from."""
    if policy.patch_grid.sees_whole_picture(policy.pixel_pipeline.input_size):
        raise NotApplicable(what, FIELD)


@pytest.mark.experiment("E3.2")
def test_no_pixel_outside_a_box_reaches_its_cell(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """Every cell: all pixels outside its box exchanged for others, its logit stays the same to the last bit."""
    _require_outside(policy, "pixels outside a box")
    for name in RUNTIMES:
        moves = outside_influence(load_runtime(bundle, name, 1), policy, seed=11)
        move, cell = max(moves)
        evidence.check(f"{name}_largest_influence_from_outside", move, limit=0, op="==", unit="logit", worst=[cell],
                       n=len(moves))  # fmt: skip


@pytest.mark.experiment("E3.2")
def test_every_pixel_of_a_box_reaches_its_cell_but_null_pixels(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract
) -> None:
    _require_outside(policy, "the union of supports")
    null = null_pixels(policy)
    for name in RUNTIMES:
        seen = support(load_runtime(bundle, name, 1), policy, range(20, 23))
        missing = {(int(y), int(x)) for y, x in np.argwhere(~seen)}
        evidence.none(f"{name}_offsets_without_influence", sorted(missing - null), n=seen.size, unit="pixel")
        evidence.none(f"{name}_null_offsets_with_influence", sorted(null - missing), n=seen.size, unit="pixel")
        evidence.measure(f"{name}_null_offsets", ", ".join(map(str, sorted(null))) or "none")


@pytest.mark.experiment("E3.2")
def test_gradients_of_networks_stay_inside_the_boxes(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract
) -> None:
    """Float64 gradients of every second cell, whose boxes do not touch: union over weights and tensors.

    Trained networks may have learnt to leave pixels out; of seeded ones every pixel must count.
    """
    _require_outside(policy, "gradients outside a box")
    torch = require_torch("gradients of teacher and student")
    grid, side, null = policy.patch_grid, policy.pixel_pipeline.input_size, null_pixels(policy)
    inside = np.zeros((side, side), bool)
    for row in range(0, grid.rows, 2):
        for col in range(0, grid.cols, 2):
            box = cell_box(row, col, grid)
            inside[box.y0 : box.y1, box.x0 : box.x1] = True
            for dy, dx in null:
                inside[box.y0 + dy, box.x0 + dx] = False
    for name, width in ARCHITECTURES:
        seen = np.zeros((side, side), bool)
        for seed in range(3):
            seen |= _with_gradient(torch, seeded_network(torch, name, width, policy, seed), side, seed)
        outside, without = np.argwhere(seen & ~inside), np.argwhere(inside & ~seen)
        evidence.none(f"{name}_pixels_outside_with_gradient", outside.tolist(), n=int((~inside).sum()), unit="pixel")
        evidence.none(f"{name}_pixels_inside_without_gradient", without.tolist(), n=int(inside.sum()), unit="pixel")
    for name, network in trained_networks(bundle).items():
        seen = _with_gradient(torch, network, side, seed=9)
        outside = np.argwhere(seen & ~inside)
        evidence.none(f"{name}_pixels_outside_with_gradient", outside.tolist(), n=int((~inside).sum()), unit="pixel")
        evidence.measure(f"{name}_share_of_pixels_with_gradient", float(seen.sum() / inside.sum()))


def _with_gradient(torch: Any, network: Any, side: int, seed: int) -> Any:
    """Pixels of a seeded tensor that move any of every second cell."""
    x = torch.from_numpy(textured(seed, side).transpose(0, 3, 1, 2).astype(np.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(network.double()(x)[0, ::2, ::2].sum(), x)
    return (gradient[0] != 0).any(dim=0).numpy()


@pytest.mark.experiment("E3.2")
def test_the_last_rows_and_columns_are_seen_by_no_cell(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, golden: GoldenSet, prepared: Prepared
) -> None:
    _require_outside(policy, "the strip that no cell sees")
    for name in RUNTIMES:
        _check_strip(evidence, name, load_runtime(bundle, name, 1), policy)
    item = next(item for item in golden.by_set("in_scope") if prepared(item).faces)
    _draw(evidence, item.id, prepared(item).faces[0], load_runtime(bundle, RUNTIMES[0], 1), policy)


def _check_strip(evidence: Evidence, name: str, runtime: PatchRuntime, policy: PolicyContract) -> None:
    """Exchange the strip: nothing moves. Exchange the last line before it: every cell of the border moves."""
    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    first_row, first_col = unseen_from(grid)
    base, changed = textured(34, side), textured(35, side)
    changed[:, :first_row, :first_col] = base[:, :first_row, :first_col]
    before = runtime.patch_map(base)[0]
    moved = float(np.abs(runtime.patch_map(changed)[0] - before).max())
    strip = side * side - first_row * first_col
    evidence.check(f"{name}_largest_move_by_the_strip", moved, limit=0, op="==", unit="logit", n=strip)
    unseen = _unmoving_rows(runtime, base, other=textured(35, side))
    evidence.check(f"{name}_unseen_rows", unseen, limit=side - first_row, op="==", unit="px")
    changed, other = base.copy(), textured(36, side)
    changed[:, first_row - 1, : first_col - 1] = other[:, first_row - 1, : first_col - 1]
    changed[:, : first_row - 1, first_col - 1] = other[:, : first_row - 1, first_col - 1]
    touched = np.argwhere(runtime.patch_map(changed)[0] != before)
    last = {(grid.rows - 1, c) for c in range(grid.cols)} | {(r, grid.cols - 1) for r in range(grid.rows)}
    unmoved = sorted(last - {(int(r), int(c)) for r, c in touched})
    evidence.none(f"{name}_border_cells_unmoved_by_the_last_seen_line", unmoved, n=len(last), unit="cell")


def _unmoving_rows(runtime: PatchRuntime, base: Any, other: Any) -> int:
    """Most rows at the lower edge that can be exchanged without moving any cell, by bisection."""
    before, low, high = runtime.patch_map(base)[0], 0, base.shape[1]
    while high - low > 1:
        rows = (low + high) // 2
        changed = base.copy()
        changed[:, -rows:] = other[:, -rows:]
        low, high = (rows, high) if np.array_equal(runtime.patch_map(changed)[0], before) else (low, rows)
    return low


def _draw(evidence: Evidence, name: str, face: PreparedFace, runtime: PatchRuntime, policy: PolicyContract) -> None:
    first_row, _ = unseen_from(policy.patch_grid)
    caption = (
        f"The patch grid over {name}: one cell's box in full colour, its null pixel (NPR) black, and hatched "
        f"the {policy.pixel_pipeline.input_size - first_row} rows and columns from {first_row} on that no cell sees."
    )
    evidence.figure("grid", draw_grid(face.s3, policy, null_pixels(policy)), caption)
    found = runtime.patch_map(normalise(face.s3, policy.pixel_pipeline)[None])[0]
    overlay = heatmap(face.s3, found, policy, f"{name}: patch-logit map", f"largest cell {argmax_cell(found)}")
    evidence.figure("overlay", png(overlay), f"Patch-logit map of {name} drawn over the face that the model saw.")


@pytest.mark.experiment("E3.2")
def test_boxes_lie_where_they_say_in_the_file(
    evidence: Evidence, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    """Paint the file's own pixels, outside a cell's box and inside it, and cut the face out again.

    Outside the box grown by the resize kernel nothing may change in the cell; inside the box something must.
    """
    if policy.face_detector.crop_alignment == "eye_line":  # a turned crop has no axis-aligned boxes in the picture
        raise NotApplicable("boxes in the file", "face_detector.crop_alignment")
    _require_outside(policy, "boxes in the file")
    grid = policy.patch_grid
    cells = [(round(y * (grid.rows - 1)), round(x * (grid.cols - 1))) for y, x in PROBES]
    items = [i for i in golden.by_set("in_scope")[:6] + golden.by_set("edge_cases") if _stored_rgb(i, prepared(i))]
    moved, unmoved, n, orientations = [], [], 0, set()
    for item in items:
        now = prepared(item)
        orientations.add(now.accepted.orientation)
        for cell in cells:
            n += 1
            outside, inside = _painted(Path(item.path), now.accepted, now.faces[0], cell, policy)
            if outside:
                moved.append(f"{item.id} {cell}")
            if not inside:
                unmoved.append(f"{item.id} {cell}")
    evidence.none("cells_changed_by_paint_outside", moved, n=n, unit="cell")
    evidence.none("cells_unchanged_by_paint_inside", unmoved, n=n, unit="cell")
    evidence.check("orientations_covered", len(orientations), limit=8, op="==", unit="orientation", n=len(items))


def _stored_rgb(item: GoldenItem, now: GoldenNow) -> bool:
    """A picture with a face whose decoded pixels are its stored ones, turned."""
    if not now.faces:
        return False
    with Image.open(item.path) as stored:
        turned = upright(stored.convert("RGB"), now.accepted.orientation)
    return turned.size == now.accepted.image.size and turned.tobytes() == now.accepted.image.tobytes()


def _painted(
    path: Path, decoded: Decoded, face: PreparedFace, cell: tuple[int, int], policy: PolicyContract
) -> tuple[bool, bool]:
    """Whether the cell's pixels of S3 change when the file is painted outside its box, and inside."""
    pixels, crop = policy.pixel_pipeline, face.crop_box
    box = cell_box_in_picture(*cell, policy.patch_grid, crop, pixels.input_size)
    scale = (crop[2] - crop[0]) / pixels.input_size
    grow = KERNEL_RADIUS[pixels.resize_kernel] * max(scale, 1.0) + 1
    with Image.open(path) as opened:
        stored = opened.convert("RGB")
    place = cell_box(*cell, policy.patch_grid)
    now = face.s3[place.y0 : place.y1, place.x0 : place.x1]
    changed = []
    for margin, outside in ((grow, True), (0.0, False)):
        around = (box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)
        found = box_to_stored(around, decoded.orientation, decoded.stored_size)
        x0, y0, x1, y1 = (max(0, math.floor(found[0])), max(0, math.floor(found[1])), math.ceil(found[2]),
                          math.ceil(found[3]))  # fmt: skip
        before = np.asarray(stored)
        after = 255 - before if outside else before.copy()
        after[y0:y1, x0:x1] = before[y0:y1, x0:x1] if outside else 255 - before[y0:y1, x0:x1]
        turned = upright(Image.fromarray(after), decoded.orientation)
        s3 = resize(cut(turned, CropBox(*crop), policy.face_detector), pixels)
        changed.append(not np.array_equal(s3[place.y0 : place.y1, place.x0 : place.x1], now))
    return changed[0], changed[1]
