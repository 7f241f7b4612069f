"""E3.6 locality: blurring one block moves only the cells that see it, by a stated margin.

Evidence at one place must come from that place, or the map explains nothing. Fails when a cell that does not see the
block moves, or when those that see it move less than the margin on average.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ecdd.inference.patch_grid import PixelBox, cells_seeing
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import PatchRuntime
from ecdd.runtimes.registry import load_runtime
from ecdd.training.forgeries.forged_cells import cell_labels
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused
from ecdd.training.forgeries.forging import prepare_forgery
from ecdd.training.forgeries.registry import forge
from gates.support.fixtures import (
    Bundle,
    Detector,
    Evidence,
    GoldenNow,
    GoldenSet,
    NotApplicable,
    NotTested,
    PolicyContract,
    Prepared,
)
from gates.support.pooling_study import auc
from gates.support.seeded_networks import NO_TORCH

# Upper left corner and side, in 256ths of the picture's side.
BLOCKS = ((96, 64), (40, 150), (170, 101))
PARTS, BLOCK = 256, 32
RADIUS = 4.0
RUNTIMES = ("tflite", "onnx")


@pytest.mark.usefixtures("evidence_map")
@pytest.mark.experiment("E3.6")
def test_blurring_one_block_moves_only_the_cells_that_see_it(
    evidence: Evidence, bundle: Bundle, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    """Outside: exactly nothing. Inside: on average more than the tolerance that parity allows, by far."""
    side = policy.pixel_pipeline.input_size
    blocks = [PixelBox(*(value * side // PARTS for value in (y, x, y + BLOCK, x + BLOCK))) for y, x in BLOCKS]
    everywhere = policy.patch_grid.sees_whole_picture(side)
    faces = [(item.id, face.s3) for item in golden.by_set("in_scope") for face in prepared(item).faces]
    for name in RUNTIMES:
        runtime = load_runtime(bundle, name, 1)
        moves = [_moves(runtime, s3, block, policy, key) for key, s3 in faces for block in blocks]
        if not everywhere:
            most, where = max((outside, where) for outside, _, where in moves)
            evidence.check(f"{name}_largest_move_outside", most, limit=0.0, op="==", unit="logit", worst=[where],
                           n=len(moves))  # fmt: skip
        least, where = min((inside, where) for _, inside, where in moves)
        evidence.check(f"{name}_least_mean_move_inside", least, limit=10 * policy.patch_grid.tolerance_s5, op=">=",
                       unit="logit", worst=[where], n=len(moves))  # fmt: skip
    if everywhere:
        raise NotApplicable("cells that do not see the block", "patch_grid.receptive_field")


def _moves(
    runtime: PatchRuntime, s3: NDArray[np.uint8], block: PixelBox, policy: PolicyContract, name: str
) -> tuple[float, float, str]:
    """Largest move of a cell that does not see the block, mean move of those that do, and the sample's name."""
    before, after = (
        runtime.patch_map(normalise(picture, policy.pixel_pipeline)[None])[0] for picture in (s3, blurred(s3, block))
    )
    rows, cols = cells_seeing(block, policy.patch_grid)
    seen = np.zeros(before.shape, bool)
    seen[rows.start : rows.stop, cols.start : cols.stop] = True
    moved = np.abs(after - before)
    return float(moved[~seen].max(initial=0.0)), float(moved[seen].mean()), f"{name} {tuple(block)}"


@pytest.mark.usefixtures("evidence_map")
@pytest.mark.experiment("E3.6")
def test_localisation_on_forgeries(
    evidence: Evidence, golden: GoldenSet, prepared: Prepared, detector: Detector, policy: PolicyContract
) -> None:
    """Reported, without a limit: AUC of forged cells against untouched cells of the same face, by generator."""
    makers = ["self_blended", "latent_resampling", "upsampling"]
    if importlib.util.find_spec("torch"):
        makers.append("resynthesis")
    reals = [item for item in golden.by_set("in_scope") if item.expected.label == "real" and prepared(item).faces]
    rows = []
    for maker in makers:
        found = [localisation(maker, prepared(item), seed, detector, policy) for seed, item in enumerate(reals)]
        aucs = [value for value in found if value is not None]
        mean = float(np.mean(aucs)) if aucs else None
        rows.append({"generator": maker, "faces": len(aucs), "mean_auc": mean, "least_auc": min(aucs, default=None),
                     "largest_auc": max(aucs, default=None)})  # fmt: skip
    evidence.table("localisation", rows)
    empty = [row["generator"] for row in rows if not row["faces"]]
    evidence.none("generators_without_a_measured_face", empty, n=len(makers), unit="generator")
    if "resynthesis" not in makers:
        raise NotTested("localisation on re-synthesised faces", NO_TORCH)


def localisation(maker: str, now: GoldenNow, seed: int, detector: Detector, policy: PolicyContract) -> float | None:
    """AUC of cells whose box is at least half forged against cells without a forged pixel; None where one is empty."""
    source = FacePicture(np.asarray(now.accepted.image), now.faces[0].face)
    try:
        forgery = forge(maker, source, seed)
    except ForgeryRefused:
        return None
    tensor = prepare_forgery(forgery, policy, detector.face_backend)
    if tensor is None:
        return None
    truth = cell_labels(tensor.shares).reshape(-1)
    patch_map = detector.runtime.patch_map(normalise(tensor.face.s3, policy.pixel_pipeline)[None])[0].reshape(-1)
    use = truth >= 0
    value = auc(patch_map[use].astype(np.float64), truth[use].astype(np.int64))
    return value if np.isfinite(value) else None


def blurred(s3: NDArray[np.uint8], block: PixelBox) -> NDArray[np.uint8]:
    """The face with one block blurred; pixels outside the block are untouched."""
    soft = np.asarray(Image.fromarray(s3).filter(ImageFilter.GaussianBlur(RADIUS)))
    out = s3.copy()
    out[block.y0 : block.y1, block.x0 : block.x1] = soft[block.y0 : block.y1, block.x0 : block.x1]
    return out
