"""The pictures that the generators are fitted on: real faces tagged TRAIN, never one that a gate may read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
from ecdd.dataset_governance.manifest import load_manifest
from ecdd.pipeline.decode import decode
from ecdd.pipeline.face import is_certain
from ecdd.pipeline.face_detectors import load_detector
from ecdd.training.forgeries.face_shape import frame_of
from ecdd.training.forgeries.forgery import Picture

if TYPE_CHECKING:
    from ecdd.contract.schema import PolicyContract


@dataclass(frozen=True)
class FittingFace:
    """One face to fit on.

    Attributes
    ----------
    picture : ndarray of uint8, (H, W, 3)
        The whole upright picture.
    landmarks : tuple of (x, y)
        The detector's, in pixels.
    eye_distance : float
        Pixels.
    sha256 : str
        Of the file.
    """

    picture: Picture
    landmarks: tuple[tuple[float, float], ...]
    eye_distance: float
    sha256: str


def fitting_faces(
    data: Path, split: Path, policy: PolicyContract, *, min_eye_distance: float, grey: bool = False
) -> Iterator[FittingFace]:
    """Real faces of a data manifest that the split tags TRAIN, in the order of their hashes.

    Parameters
    ----------
    data : Path
        Manifest or its folder.
    split : Path
        ``golden/data_split.csv`` or another split of the same data.
    policy : PolicyContract
        Decoder and face detector.
    min_eye_distance : float
        Smaller faces are left out, pixels.
    grey : bool
        Keep pictures without colour as well.
    """
    tagged = load_split(split).rows
    detector = load_detector(policy.face_detector)
    for row in sorted(load_manifest(data), key=lambda row: row.sha256):
        known = tagged.get(row.sha256)
        if row.label != 0 or known is None or known.lineage != LineageTag.TRAIN:
            continue
        image = decode(row.path.read_bytes(), policy.pixel_pipeline, name=row.name).image
        found = [face for face in detector.detect(image) if is_certain(face, policy.face_detector)]
        if len(found) != 1 or len(found[0].landmarks) < 4:
            continue
        frame = frame_of(found[0].landmarks)
        distance = float(np.hypot(frame[0, 0], frame[1, 0]))
        picture = np.asarray(image)
        coloured = int(np.ptp(picture.astype(np.int16), axis=2).max()) > 12
        if distance >= min_eye_distance and (coloured or grey):
            yield FittingFace(picture, found[0].landmarks, distance, row.sha256)
