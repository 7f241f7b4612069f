"""E3.1 grid shape and input operator: the grid's shape equals the contract for teacher and student, in deterministic
order; the fixed gradient operator, which has no weights, is identified in the metadata and checked by logits.

A transposed map pools to the same number and points at the wrong place; weights load strictly into a network with a
wrong operator. Fails when a map has another shape or order, when a runtime's map differs from the frozen one beyond
the tolerance, or when another operator gives the same logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ecdd.contract.layer_geometry import NETWORK_LAYERS, compose, grid_mismatches, layers_of
from ecdd.contract.model_sections import PatchGrid
from ecdd.inference.patch_grid import PixelBox, cell_box
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import PatchRuntime
from ecdd.runtimes.registry import load_runtime
from ecdd.runtimes.torch import TorchRuntime
from gates.support.fixtures import Bundle, Evidence, NotApplicable, NotTested, PolicyContract
from gates.support.frozen_maps import FrozenFace, spread_difference
from gates.support.influence import textured
from gates.support.seeded_networks import (
    ARCHITECTURES,
    require_torch,
    require_weights,
    seeded_network,
    trained_networks,
)

RUNTIMES = ("tflite", "onnx")
SHARED_CELLS = ({"ladeda9", "tiny_ladeda"},)  # teacher and student are compared cell with cell
OPERATORS = [(n, s) for n in ("NPR", "raw", "x_grad", "y_grad", "left_diag", "right_diag") for s in (2 / 3, 1.0)]
# Parts of the grid, far from both diagonals and from each other's mirror images: a transposed or reversed order is
# another cell.
PROBES = ((0.07, 0.67), (0.9, 0.3), (0.47, 0.1), (0, 1))


def peers(bundle: Bundle) -> list[str]:
    """The bundle's architecture and those that were made to share its cells; none where its layers are not known."""
    own = bundle.manifest.model.architecture
    return next((sorted(group) for group in SHARED_CELLS if own in group), [own] if own in NETWORK_LAYERS else [])


def _require_operator(policy: PolicyContract) -> None:
    """Files that hold all there is have neither weights of this project nor an operator that must be named."""
    if policy.patch_grid.input_operator == "none":
        raise NotApplicable("the operator in front of the network and its weights", "patch_grid.input_operator")


def not_square(policy: PolicyContract) -> tuple[int, int]:
    """Height and width, px, of a picture that is a fourth wider than the contract's."""
    side = policy.pixel_pipeline.input_size
    return side, side * 5 // 4


def _cells(parts: Sequence[tuple[float, float]], rows: int, cols: int) -> list[tuple[int, int]]:
    return [(round(y * (rows - 1)), round(x * (cols - 1))) for y, x in parts]


def _middle(box: PixelBox) -> tuple[slice, slice]:
    """The middle five ninths of a box."""
    edge = 2 * (box.y1 - box.y0) // 9
    return slice(box.y0 + edge, box.y1 - edge), slice(box.x0 + edge, box.x1 - edge)


def _elsewhere(moved: list[list[int]], own: list[int], seeing: list[list[int]]) -> bool:
    """Whether the own cell stood still or one moved that does not see the change.

    A cell that sees it by a corner of its box may stand still: a kernel of a diagonal has zeros there.
    """
    return own not in moved or any(cell not in seeing for cell in moved)


def _seeing(part: tuple[slice, slice], grid: PatchGrid, rows: int, cols: int) -> list[list[int]]:
    """Cells whose boxes hold a pixel of a part: one where fields do not overlap, its neighbours too where they do."""
    (side, before), (down, across) = grid.box, part

    def along(count: int, pixels: slice) -> list[int]:
        begins = ((i, grid.stride * i - before) for i in range(count))
        return [i for i, begin in begins if begin < pixels.stop and begin + side > pixels.start]

    return [[row, col] for row in along(rows, down) for col in along(cols, across)]


@pytest.mark.experiment("E3.1")
def test_contract_states_what_the_layers_compose_to(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """For the bundle's architecture and those that share its cells: the layer list gives every value of the grid."""
    _require_operator(policy)
    names = peers(bundle)
    if not names:
        why = f"the layers of {bundle.manifest.model.architecture} are not known; its model was made elsewhere"
        raise NotTested("the grid from the layers", why)
    wrong = [line for name in names for line in grid_mismatches(policy, name)]
    evidence.none("contract_values_differing_from_layers", wrong, n=5 * len(names), unit="value")
    operator, side = policy.patch_grid.input_operator, policy.pixel_pipeline.input_size
    grids = {compose(layers_of(name, operator), side, side) for name in names}
    evidence.check("different_grids", len(grids), limit=1, op="==", unit="grid", n=len(names))


@pytest.mark.experiment("E3.1")
def test_shipped_files_give_the_contracts_shape(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
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
def test_cells_come_row_by_row(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """Changing the middle of one cell's box moves this cell, and none whose box does not hold the change."""
    if policy.patch_grid.sees_whole_picture(policy.pixel_pipeline.input_size):
        raise NotApplicable("a box that moves its cell alone", "patch_grid.receptive_field")
    grid, side, wrong, n = policy.patch_grid, policy.pixel_pipeline.input_size, [], 0
    for name in RUNTIMES:
        runtime, base = load_runtime(bundle, name, 1), textured(1, side)
        before = runtime.patch_map(base)[0]
        for row, col in _cells(PROBES, grid.rows, grid.cols):
            part, changed = _middle(cell_box(row, col, grid)), base.copy()
            changed[0, *part] += 1.0
            moved = np.argwhere(runtime.patch_map(changed)[0] != before)
            n += 1
            if _elsewhere(moved.tolist(), [row, col], _seeing(part, grid, grid.rows, grid.cols)):
                wrong.append(f"{name}: the box of cell ({row}, {col}) moved cells {moved.tolist()[:3]}")
    evidence.none("boxes_that_move_another_cell", wrong, n=n, unit="box")


@pytest.mark.experiment("E3.1")
def test_networks_give_the_shape_and_order_too(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    """Teacher of reduced width and student, seeded and trained, in torch; also for a tensor that is not square."""
    if policy.patch_grid.sees_whole_picture(policy.pixel_pipeline.input_size):
        raise NotApplicable("a box that moves its cell alone", "patch_grid.receptive_field")
    torch = require_torch("shape and order of teacher and student")
    grid, wrong, n = policy.patch_grid, [], 0
    networks = {name: seeded_network(torch, name, width, policy, seed=5) for name, width in ARCHITECTURES}
    for name, network in (networks | trained_networks(bundle)).items():
        for height, breadth in ((policy.pixel_pipeline.input_size,) * 2, not_square(policy)):
            x = torch.randn(1, 3, height, breadth, generator=torch.Generator().manual_seed(6))
            composed = compose(layers_of(network.architecture, grid.input_operator), height, breadth)
            with torch.inference_mode():
                before = network(x)[0]
                changed = x.clone()
                ((row, col),) = _cells(PROBES[:1], grid.rows, grid.cols)
                part = _middle(cell_box(row, col, grid))
                changed[..., *part] += 1.0
                moved = (network(changed)[0] != before).nonzero().tolist()
            n += 1
            seeing = _seeing(part, grid, composed.rows, composed.cols)
            if tuple(before.shape) != (composed.rows, composed.cols) or _elsewhere(moved, [row, col], seeing):
                wrong.append(f"{name} {height}x{breadth}: shape {tuple(before.shape)}, moved {moved[:3]}")
    evidence.none("networks_of_another_shape_or_order", wrong, n=n, unit="network")


@pytest.mark.experiment("E3.1")
def test_shipped_files_give_the_golden_logits(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, frozen_faces: list[FrozenFace]
) -> None:
    """S5 from the frozen S3: weights, their loading and the direction of the score are in every number of it."""
    for name in RUNTIMES:
        _check_maps(evidence, f"{name}_s5_differs", load_runtime(bundle, name, 1), frozen_faces, policy)


def _check_maps(
    evidence: Evidence, name: str, runtime: PatchRuntime, faces: list[FrozenFace], policy: PolicyContract
) -> None:
    """Hold the maps of the frozen S3 to the frozen S5."""
    maps = [runtime.patch_map(normalise(face.s3, policy.pixel_pipeline)[None])[0] for face in faces]
    off = max((spread_difference(now, face.patch_map, faces), face.name) for now, face in zip(maps, faces, strict=True))
    evidence.check(name, off[0], limit=policy.patch_grid.tolerance_s5, unit="logit spread", worst=[off[1]],
                   n=len(faces), clause="patch_grid.tolerance_s5")  # fmt: skip


@pytest.mark.experiment("E3.1")
def test_weights_name_their_operator_and_load_unchanged(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract
) -> None:
    """An operator has no weights, so any would load: the file must name it."""
    _require_operator(policy)
    torch = require_torch("the input operator of the weights")
    weights = require_weights(bundle, "the input operator of the weights")
    from safetensors.torch import load_file

    from ecdd.models.checkpoint import load_weights

    network, identity = load_weights(weights)
    wrong = [
        f"{key}: weights {getattr(identity, key)}, contract {getattr(policy.patch_grid, key)}"
        for key in ("input_operator", "operator_scale")
        if getattr(identity, key) != getattr(policy.patch_grid, key)
    ]
    evidence.none("operator_differs_from_the_contract", wrong, n=2, unit="value")
    loaded, stored = network.state_dict(), load_file(weights)
    others = sorted(set(loaded) ^ set(stored))
    both = sorted(set(loaded) & set(stored))
    others += [key for key in both if not torch.equal(loaded[key], stored[key].to(loaded[key].dtype))]
    evidence.none("tensors_differing_from_the_file", others, n=len(stored), unit="tensor")
    evidence.check("networks_left_in_training_mode", int(network.training), limit=0, op="==")


@pytest.mark.experiment("E3.1")
def test_operator_is_named_by_the_weights_and_seen_in_the_logits(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, frozen_faces: list[FrozenFace]
) -> None:
    """The operator that is named gives the golden logits, every other one does not."""
    _require_operator(policy)
    torch = require_torch("the input operator by logits")
    weights = require_weights(bundle, "the input operator by logits")
    from ecdd.models.architectures import build_network
    from ecdd.models.checkpoint import load_weights

    faces, grid = frozen_faces[:6], policy.patch_grid
    network, identity = load_weights(weights)
    _check_maps(evidence, "named_operator_s5_differs", TorchRuntime(weights), faces, policy)
    batch = torch.from_numpy(normalise(faces[0].s3, policy.pixel_pipeline).transpose(2, 0, 1)[None].copy())
    least = []
    for other, scale in OPERATORS:
        if (other, scale) != (grid.input_operator, grid.operator_scale):
            twin = build_network(identity.architecture, other, scale, identity.width).eval()
            twin.load_state_dict(network.state_dict(), strict=True)
            with torch.inference_mode():
                least.append(
                    (spread_difference(twin(batch)[0].numpy(), faces[0].patch_map, faces), f"{other} x {scale:.3g}")
                )
    evidence.check("least_difference_of_another_operator", min(least)[0], limit=10 * grid.tolerance_s5, op=">",
                   unit="logit spread", worst=[min(least)[1]], n=len(least))  # fmt: skip


@pytest.mark.experiment("E3.1")
def test_export_keeps_rows_and_columns_of_a_picture_that_is_not_square(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract
) -> None:
    """The bundle's own weights in torch and as ONNX with free sides: a square grid hides a transpose."""
    _require_operator(policy)
    require_torch("a picture that is not square, in torch and ONNX")
    weights = require_weights(bundle, "a picture that is not square, in torch and ONNX")
    pytest.importorskip("onnx")
    from ecdd.export.folding import fold
    from ecdd.export.onnx_export import onnx_bytes
    from ecdd.models.checkpoint import load_weights
    from ecdd.runtimes.onnx import OnnxRuntime

    network, identity = load_weights(weights)
    batch = np.random.default_rng(8).normal(0, 1, (1, *not_square(policy), 3)).astype(np.float32)
    composed = compose(layers_of(identity.architecture, policy.patch_grid.input_operator), *not_square(policy))
    exported = OnnxRuntime(onnx_bytes(fold(network))).patch_map(batch)[0]
    eager = TorchRuntime(weights).patch_map(batch)[0]
    wrong = [str(m.shape) for m in (exported, eager) if m.shape != (composed.rows, composed.cols)]
    evidence.none("shapes_differing_from_the_layers", wrong, n=2, unit="map")
    off = spread_difference(exported, eager) if exported.shape == eager.shape else float("nan")
    evidence.check("torch_against_onnx", off, limit=policy.patch_grid.tolerance_s5, unit="logit spread", n=eager.size)
