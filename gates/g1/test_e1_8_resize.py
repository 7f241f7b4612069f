"""E1.8 resize: S3 equals the golden S3; every other kernel, antialias setting, library or shortcut in a list gives a
different S3.

Resizing is where ports differ most often, and it writes the very traces that the model reads. Fails when a crop
differs from the frozen one by more than the tolerance, or when one of the alternatives gives equal pixels, so that a
wrong port could pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.preprocess import CropBox, cut, resize
from gates.support.fixtures import Evidence, FrozenStages, GoldenSet, PolicyContract, Prepared

Resizer = Callable[[Image.Image, CropBox], NDArray[np.uint8]]


def _pillow(side: int, kernel: Image.Resampling, gap: float | None = None) -> Resizer:
    return lambda image, box: np.asarray(image.crop(box).resize((side, side), kernel, reducing_gap=gap))


def _box_argument(side: int, kernel: Image.Resampling) -> Resizer:
    return lambda image, box: np.asarray(image.resize((side, side), kernel, box=box))


def _opencv(side: int, flag: str) -> Resizer:
    def resized(image: Image.Image, box: CropBox) -> NDArray[np.uint8]:
        import cv2

        pixels = np.asarray(image.crop(box))
        return np.asarray(cv2.resize(pixels, (side, side), interpolation=getattr(cv2, flag)), np.uint8)

    return resized


def _squash(side: int, kernel: Image.Resampling) -> Resizer:
    return lambda image, _box: np.asarray(image.resize((side, side), kernel))


def _without_antialias(side: int) -> Resizer:
    """Bilinear at the sample points only, as frameworks do without antialias."""

    def resized(image: Image.Image, box: CropBox) -> NDArray[np.uint8]:
        crop = np.asarray(image.crop(box), np.float64)
        position = (np.arange(side) + 0.5) * crop.shape[0] / side - 0.5
        low = np.clip(np.floor(position).astype(int), 0, crop.shape[0] - 1)
        high = np.minimum(low + 1, crop.shape[0] - 1)
        share = np.clip(position - low, 0, 1)
        rows = crop[low] * (1 - share)[:, None, None] + crop[high] * share[:, None, None]
        both = rows[:, low] * (1 - share)[None, :, None] + rows[:, high] * share[None, :, None]
        return np.rint(both).astype(np.uint8)

    return resized


def alternatives(kernel: str, side: int) -> dict[str, Resizer]:
    """Every other way to make the crop small that a port is likely to use."""
    own = Image.Resampling[kernel.upper()]
    others = {f"pillow {k.name.lower()}": _pillow(side, k) for k in Image.Resampling if k.name.lower() != kernel}
    others["pillow reducing_gap 1.1"] = _pillow(side, own, 1.1)
    others["pillow resize(box=)"] = _box_argument(side, own)
    for flag in ("INTER_LINEAR", "INTER_AREA", "INTER_CUBIC", "INTER_NEAREST", "INTER_LANCZOS4"):
        others[f"opencv {flag}"] = _opencv(side, flag)
    others["bilinear without antialias"] = _without_antialias(side)
    others["squash the whole picture"] = _squash(side, own)
    return others


@pytest.mark.experiment("E1.8")
def test_s3_equals_golden(
    evidence: Evidence, prepared: Prepared, frozen: FrozenStages, golden: GoldenSet, policy: PolicyContract
) -> None:
    tolerance = 0 if frozen.same_fingerprint else policy.pixel_pipeline.tolerance_s3
    worst, missing, n = ("", 0), [], 0
    for item in golden.items:
        stored, faces = frozen.picture(item.id), prepared(item).faces
        if stored is None or len(stored.faces) != len(faces):
            missing.append(item.id)
            continue
        for index, (old, new) in enumerate(zip(stored.faces, faces, strict=True)):
            difference = int(np.abs(old.s3.astype(np.int32) - new.s3).max())
            worst, n = max(worst, (f"{item.id} face {index}", difference), key=lambda pair: pair[1]), n + 1
    evidence.none("faces_missing", missing, n=len(golden.items))
    evidence.check("s3_max_difference", worst[1], limit=tolerance, op="<=", unit="level", worst=[worst[0]], n=n)


def _much_reduced_face(golden: GoldenSet, prepared: Prepared, policy: PolicyContract) -> tuple[Image.Image, CropBox]:
    """The largest golden face, its picture enlarged until the crop is 2.5 times the input size.

    Kernels that skip pixels, and shortcuts that begin at a factor of two, must all have something to skip.
    """
    faces = [(item, face) for item in golden.by_set("in_scope") for face in prepared(item).faces]
    item, face = max(faces, key=lambda pair: pair[1].crop_box.x1 - pair[1].crop_box.x0)
    image = decode(read_file(Path(item.path), policy.pixel_pipeline), policy.pixel_pipeline).image
    factor = max(1, math.ceil(2.5 * policy.pixel_pipeline.input_size / (face.crop_box.x1 - face.crop_box.x0)))
    large = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    return large, CropBox(*(edge * factor for edge in face.crop_box))


@pytest.mark.experiment("E1.8")
def test_every_other_resize_differs(
    evidence: Evidence, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    image, box = _much_reduced_face(golden, prepared, policy)
    ours = resize(cut(image, box, policy.face_detector), policy.pixel_pipeline).astype(np.int32)
    rows = []
    for name, other in alternatives(policy.pixel_pipeline.resize_kernel, policy.pixel_pipeline.input_size).items():
        difference = np.abs(ours - other(image, box))
        rows.append(
            {"resize": name, "max_level": int(difference.max()), "mean_level": round(float(difference.mean()), 3)}
        )
    evidence.table("other_resizes", rows)
    least = min(rows, key=lambda row: row["max_level"])
    evidence.check(
        "least_difference", least["max_level"], limit=1, op=">=", unit="level", worst=[least["resize"]], n=len(rows)
    )


@pytest.mark.experiment("E1.8")
def test_crop_is_square_and_not_squashed(evidence: Evidence, golden: GoldenSet, prepared: Prepared) -> None:
    boxes = [(item.id, face.crop_box) for item in golden.items for face in prepared(item).faces]
    stretched = [key for key, box in boxes if box.x1 - box.x0 != box.y1 - box.y0]
    evidence.none("crops_not_square", stretched, n=len(boxes), unit="face")
