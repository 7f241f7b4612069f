"""E3.6 locality: blurring one block moves only the cells that see it, by a stated margin.

Evidence at one place must come from that place, or the map explains nothing. Fails when a cell that does not see the
block moves, or when those that see it move less than the margin above the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ecdd.detector import load_runtime
from ecdd.inference.patch_grid import PixelBox, cells_seeing
from ecdd.pipeline.preprocess import normalise
from ecdd.training.forgeries.forged_cells import cell_labels
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused
from ecdd.training.forgeries.forging import prepare_forgery
from ecdd.training.forgeries.registry import forge
from gates.support.fixtures import Bundle, Detector, Evidence, GoldenNow, GoldenSet, PolicyContract, Prepared
from gates.support.pooling_study import auc
from gates.support.seeded_networks import torch_or_none

BLOCKS = (PixelBox(96, 64, 128, 96), PixelBox(40, 150, 72, 182), PixelBox(170, 101, 202, 133))
RADIUS = 4.0
RUNTIMES = ("tflite", "onnx")


@pytest.mark.experiment("E3.6")
@pytest.mark.parametrize("name", RUNTIMES)
def test_blurring_one_block_moves_only_the_cells_that_see_it(
    name: Any, evidence: Evidence, bundle: Bundle, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    """Outside: exactly nothing. Inside: on average more than the tolerance that parity allows, by far."""
    runtime, grid = load_runtime(bundle, name, 1), policy.patch_grid
    outside, inside = ("", 0.0), []
    faces = [(item.id, face) for item in golden.by_set("in_scope") for face in prepared(item).faces]
    for key, face in faces:
        before = runtime.patch_map(normalise(face.s3, policy.pixel_pipeline)[None])[0]
        for block in BLOCKS:
            after = runtime.patch_map(normalise(blurred(face.s3, block), policy.pixel_pipeline)[None])[0]
            rows, cols = cells_seeing(block, grid)
            seen = np.zeros((grid.rows, grid.cols), bool)
            seen[rows.start : rows.stop, cols.start : cols.stop] = True
            moved = np.abs(after - before)
            outside = max(outside, (f"{key} {tuple(block)}", float(moved[~seen].max())), key=lambda pair: pair[1])
            inside.append((float(moved[seen].mean()), f"{key} {tuple(block)}"))
    least = min(inside)
    limit = 10 * policy.patch_grid.tolerance_s5
    evidence.check(
        f"{name}_largest_move_outside", outside[1], limit=0.0, op="==", unit="logit", worst=[outside[0]], n=len(inside)
    )
    evidence.check(
        f"{name}_least_mean_move_inside", least[0], limit=limit, op=">=", unit="logit", worst=[least[1]], n=len(inside)
    )


@pytest.mark.experiment("E3.6")
def test_localisation_on_forgeries(
    evidence: Evidence, golden: GoldenSet, prepared: Prepared, detector: Detector, policy: PolicyContract
) -> None:
    """Reported, without a limit: AUC of forged cells against untouched cells of the same face, by generator."""
    makers = ["self_blended", "latent_resampling", "upsampling"]
    if torch_or_none(evidence, "localisation on re-synthesised faces") is not None:
        makers.append("resynthesis")
    reals = [item for item in golden.by_set("in_scope") if item.expected.label == "real" and prepared(item).faces]
    rows = []
    for maker in makers:
        found = [localisation(maker, prepared(item), seed, detector, policy) for seed, item in enumerate(reals)]
        aucs = [value for value in found if value is not None]
        rows.append(
            {
                "generator": maker,
                "faces": len(aucs),
                "mean_auc": float(np.mean(aucs)) if aucs else None,
                "least_auc": min(aucs, default=None),
                "largest_auc": max(aucs, default=None),
            }
        )
    evidence.table("localisation", rows)
    empty = [row["generator"] for row in rows if not row["faces"]]
    evidence.none("generators_without_a_measured_face", empty, n=len(makers), unit="generator")


def localisation(maker: str, now: GoldenNow, seed: int, detector: Detector, policy: PolicyContract) -> float | None:
    """AUC of cells whose box is at least half forged against cells without a forged pixel; None where one is empty."""
    source = FacePicture(np.asarray(now.decoded.image), now.faces[0].face)
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


def blurred(s3: Any, block: PixelBox) -> Any:
    """The face with one block blurred; pixels outside the block are untouched."""
    soft = np.asarray(Image.fromarray(s3).filter(ImageFilter.GaussianBlur(RADIUS)))
    out = s3.copy()
    out[block.y0 : block.y1, block.x0 : block.x1] = soft[block.y0 : block.y1, block.x0 : block.x1]
    return out
