"""Bring pictures of both classes to one distribution of face size, colour mode and compression.

Without this a student learns the shortcut instead of the forgery: picture size alone separates the shared data
with AUC 0.91. Every variant is a JPEG that is decoded through the canonical pipeline again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ecdd.pipeline.preprocess import CropBox
from ecdd.training.config import HarmoniseSettings

KERNELS = ("box", "bilinear", "hamming", "bicubic", "lanczos")


@dataclass(frozen=True)
class VariantPlan:
    """One variant to make of a picture.

    Attributes
    ----------
    stratum : int
        Index of the crop-side stratum.
    grey : bool
        Colour is taken away.
    target : float
        Side of the face crop after reducing, px.
    kernel : str
        Pillow kernel of the reduction.
    quality : int
        JPEG quality.
    chroma : str
        ``4:4:4`` or ``4:2:0``.
    margins : tuple of float
        Left, top, right, bottom, in units of the crop side.
    """

    stratum: int
    grey: bool
    target: float
    kernel: str
    quality: int
    chroma: str
    margins: tuple[float, float, float, float]


def plan_variants(
    crop_side: int, is_grey: bool, settings: HarmoniseSettings, seed: int, sha256: str
) -> list[VariantPlan]:
    """Plan all variants of a picture; deterministic in seed and file digest.

    A stratum is used only when *every* side in it can be reached by reducing, so that the distribution inside a
    stratum is the same for all pictures in it.

    Parameters
    ----------
    crop_side : int
        Side of the face crop in the original, px.
    is_grey : bool
        The original has no colour: it gets no colour variants.
    settings : HarmoniseSettings
        Strata, kernel, quality and margins.
    seed : int
        Seed of the training.
    sha256 : str
        Digest of the original file.

    Returns
    -------
    list of VariantPlan
        Empty when the face is too small for the smallest stratum.
    """
    rng = np.random.default_rng([seed, int(sha256[:16], 16)])
    plans = []
    edges = settings.crop_side_edges
    for stratum in range(settings.strata):
        for grey in (False, True):
            for _ in range(settings.repeats):
                plan = VariantPlan(
                    stratum=stratum,
                    grey=grey,
                    target=float(np.exp(rng.uniform(np.log(edges[stratum]), np.log(edges[stratum + 1])))),
                    kernel=KERNELS[int(rng.integers(len(KERNELS)))],
                    quality=int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1)),
                    chroma=("4:4:4", "4:2:0")[int(rng.integers(2))],
                    margins=_four(rng.uniform(*settings.region_margin, size=4)),
                )
                reachable = edges[stratum + 1] <= settings.max_factor * crop_side
                if reachable and not (is_grey and not grey):
                    plans.append(plan)
    return plans


def make_variant(image: Image.Image, crop: CropBox, plan: VariantPlan) -> bytes:
    """Reduce the surroundings of a face and encode them as a JPEG without metadata.

    Parameters
    ----------
    image : Image
        S1 of the original.
    crop : CropBox
        Its face crop, px of the original.
    plan : VariantPlan
        What to do.

    Returns
    -------
    bytes
        A JPEG file.
    """
    side = crop.x1 - crop.x0
    left, top, right, bottom = (round(margin * side) for margin in plan.margins)
    region = image.crop(
        (
            max(crop.x0 - left, 0),
            max(crop.y0 - top, 0),
            min(crop.x1 + right, image.width),
            min(crop.y1 + bottom, image.height),
        )
    )
    factor = plan.target / side
    size = (max(round(region.width * factor), 1), max(round(region.height * factor), 1))
    small = region.resize(size, Image.Resampling[plan.kernel.upper()])
    if plan.grey:
        small = small.convert("L").convert("RGB")
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=plan.quality, subsampling=plan.chroma)
    return buffer.getvalue()


def is_grey(image: Image.Image) -> bool:
    """Say whether a picture has no colour: mean channel spread below 2 levels on a thumbnail."""
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX), np.int16)
    return float((small.max(axis=2) - small.min(axis=2)).mean()) < 2.0


def _four(values: np.ndarray) -> tuple[float, float, float, float]:
    a, b, c, d = (float(v) for v in values)
    return a, b, c, d
