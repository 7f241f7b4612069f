"""Reads a face with its surroundings out of a file, through the canonical pipeline, for the generators to forge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.face import Face, FaceBackend, face_crop_box, is_certain
from ecdd.pipeline.reason_codes import Rejected
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused
from ecdd.training.harmonise import KERNELS, is_grey

if TYPE_CHECKING:
    from ecdd.contract.schema import PolicyContract
    from ecdd.dataset_governance.manifest import ManifestRow
    from ecdd.pipeline.preprocess import CropBox

KEPT: Final = 8  # pictures held decoded: a partner is one of the next in the order, so few are read twice


@dataclass(frozen=True)
class CutSettings:
    """How a face is cut out of its picture before it is forged.

    Attributes
    ----------
    crop_side : tuple of int
        Range of the face crop's side after the reduction, px, drawn log-uniformly.
    max_factor : float
        Largest factor of the reduction: < 1 so that no original compression grid survives.
    margin : float
        Kept round the crop on each side, in crop sides.
    """

    crop_side: tuple[int, int] = (96, 505)
    max_factor: float = 0.95
    margin: float = 0.45


@dataclass(frozen=True, eq=False)
class Region:
    """A face and its surroundings at the size that the file has.

    Attributes
    ----------
    source : FacePicture
        Cut out, not resampled.
    crop_side : int
        Side of the face's crop (S2), px.
    grey : bool
        The picture has no colour.
    """

    source: FacePicture
    crop_side: int
    grey: bool


class FaceReader:
    """Reads faces of files through the canonical pipeline; holds the last few.

    Parameters
    ----------
    policy : PolicyContract
        Decoder, face detector and crop.
    detector : FaceBackend
        The contract's.
    settings : CutSettings
        Sizes and margin.
    seed : int
        With a file's digest it decides the size to which its face is reduced.
    """

    def __init__(self, policy: PolicyContract, detector: FaceBackend, settings: CutSettings, seed: int) -> None:
        self._policy = policy
        self._detector = detector
        self._settings = settings
        self._seed = seed
        self.region = lru_cache(maxsize=KEPT)(self._cut)

    def _cut(self, row: ManifestRow) -> Region:
        policy = self._policy
        try:
            image = decode(read_file(row.path, policy.pixel_pipeline), policy.pixel_pipeline, name=row.name).image
        except Rejected as rejected:
            raise ForgeryRefused(f"not decoded ({rejected.codes[0]})", rejected.detail) from rejected
        certain = [f for f in self._detector.detect(image) if is_certain(f, policy.face_detector)]
        if not certain:
            raise ForgeryRefused("no face", "none that counts under the contract")
        face = max(certain, key=lambda found: found.side)
        crop = face_crop_box(face, image.size, policy.face_detector)
        return Region(_cut_out(image, face, crop, self._settings.margin), crop.x1 - crop.x0, is_grey(image))

    def reduced(self, row: ManifestRow) -> FacePicture:
        """The face at a drawn size; one picture has one size for all generators."""
        region = self.region(row)
        rng = np.random.default_rng([self._seed, int(row.sha256[:16], 16)])
        low, high = self._settings.crop_side
        high = min(high, int(self._settings.max_factor * region.crop_side))
        if high < low:
            raise ForgeryRefused(
                "face too small", f"a crop of {region.crop_side} px cannot be reduced to {low} px or more"
            )
        target = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return _scaled(region.source, target / region.crop_side, KERNELS[int(rng.integers(len(KERNELS)))])


def _cut_out(image: Image.Image, face: Face, crop: CropBox, margin: float) -> FacePicture:
    """A face with its surroundings, without resampling; its box and landmarks move with it."""
    reach = round(margin * (crop.x1 - crop.x0))
    x0, y0 = max(crop.x0 - reach, 0), max(crop.y0 - reach, 0)
    part = image.crop((x0, y0, min(crop.x1 + reach, image.width), min(crop.y1 + reach, image.height)))
    return FacePicture(np.asarray(part), _moved(face, (-x0, -y0), (1.0, 1.0)))


def _scaled(source: FacePicture, factor: float, kernel: str) -> FacePicture:
    """The picture at another size."""
    image = Image.fromarray(source.picture)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    small = np.asarray(image.resize(size, Image.Resampling[kernel.upper()]))
    return FacePicture(small, _moved(source.face, (0, 0), (size[0] / image.width, size[1] / image.height)))


def _moved(face: Face, shift: tuple[int, int], scale: tuple[float, float]) -> Face:
    """Shift in pixels, then scale."""

    def place(x: float, y: float) -> tuple[float, float]:
        return (x + shift[0]) * scale[0], (y + shift[1]) * scale[1]

    return Face(
        (*place(*face.box[:2]), *place(*face.box[2:])), face.score, tuple(place(x, y) for x, y in face.landmarks)
    )
