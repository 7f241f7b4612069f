"""Faces of nobody, for tests of the generators: no test puts a real person's face on another's."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.dataset_governance.lineage_tags import LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.pipeline.face import Face
from ecdd.pipeline.face_detectors import load_detector
from ecdd.training.forgeries.forgery import FacePicture, Picture
from ecdd.training.forgeries.forging import as_png
from ecdd.training.forgeries.generated import generate_face, load_statistics


@lru_cache(maxsize=8)
def drawn_face(seed: int) -> Picture:
    """A drawn face, (512, 512, 3)."""
    return generate_face(load_statistics(), seed).picture


def person(seed: int, policy: PolicyContract, side: int = 300) -> FacePicture:
    """A drawn face at another size, with what the contract's detector finds in it."""
    picture = np.asarray(Image.fromarray(drawn_face(seed)).resize((side, side), Image.Resampling.LANCZOS))
    return FacePicture(picture, _largest(picture, policy))


def in_grey(source: FacePicture) -> FacePicture:
    """The same without colour."""
    return replace(source, picture=np.asarray(Image.fromarray(source.picture).convert("L").convert("RGB")))


def _largest(picture: Picture, policy: PolicyContract) -> Face:
    found = load_detector(policy.face_detector).detect(Image.fromarray(picture))
    return max(found, key=lambda face: face.side)


def write_rows(
    folder: Path, seeds: list[int], lineage: LineageTag = LineageTag.TRAIN, identity: str = "unknown"
) -> list[tuple[ManifestRow, SplitRow]]:
    """Drawn faces as files that a manifest calls real, so that they may be forged."""
    rows = []
    for seed in seeds:
        data = as_png(drawn_face(seed))
        rows.append(tagged(folder / f"{seed}.png", data, lineage, identity))
    return rows


def tagged(path: Path, data: bytes, lineage: LineageTag, identity: str = "unknown") -> tuple[ManifestRow, SplitRow]:
    """Write a file and give its rows in manifest and split."""
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    manifest = ManifestRow(path, path.name, 0, "face", "drawn", None, digest)
    return manifest, SplitRow(digest, lineage, digest, identity, "0", "face", "drawn")
