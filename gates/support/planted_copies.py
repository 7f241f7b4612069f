"""Copies of golden pictures of every kind that a scan must find, planted among pictures that are no copies."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ecdd.contract.schema import PolicyContract
from ecdd.files import write_bytes
from ecdd.golden.golden_sets import GoldenSet
from ecdd.pipeline.decode import decode, read_file

Change = Callable[[Image.Image], Image.Image]
MOST_PIXELS = 1_200_000  # larger golden pictures would only cost time


def _cropped(share: float) -> Change:
    """A window of that share of each side, a little off the centre."""

    def change(image: Image.Image) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        left, top = (image.width - width) * 2 // 5, (image.height - height) * 3 // 5
        return image.crop((left, top, left + width, top + height))

    return change


def _warmer(image: Image.Image) -> Image.Image:
    shifted = np.asarray(image).astype(np.int16) + np.array([18, 0, -18], np.int16)
    return Image.fromarray(shifted.clip(0, 255).astype(np.uint8))


def _turned(how: Image.Transpose) -> Change:
    return lambda image: image.transpose(how)


# kind: (change, JPEG quality or None for PNG)
WHOLE: dict[str, tuple[Change, int | None]] = {
    "turned_90": (_turned(Image.Transpose.ROTATE_90), None),
    "turned_180": (_turned(Image.Transpose.ROTATE_180), None),
    "turned_270": (_turned(Image.Transpose.ROTATE_270), None),
    "mirrored": (_turned(Image.Transpose.FLIP_LEFT_RIGHT), None),
    "jpeg_95": (lambda image: image, 95),
    "jpeg_75": (lambda image: image, 75),
    "jpeg_50": (lambda image: image, 50),
    "jpeg_30": (lambda image: image, 30),
    "png": (lambda image: image, None),
    "half_size": (lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS), None),
    "colour_shift": (_warmer, None),
}
PARTS: dict[str, tuple[Change, int | None]] = {
    "crop_5_percent": (_cropped(0.9), None),
    "crop_to_70_percent": (_cropped(0.7), None),
    "border": (lambda image: ImageOps.expand(image, round(image.width * 0.08), (240, 240, 240)), None),
}


@dataclass(frozen=True)
class Planted:
    """Files by SHA-256, and what each is.

    Attributes
    ----------
    files : list of (str, Path)
        For the scan.
    copies : list of (str, str, str)
        Kind, original and copy.
    names : dict of str to str
        Picture and kind by SHA-256.
    photographs : dict of str to str
        By SHA-256: pictures of one photograph may be joined, others not.
    """

    files: list[tuple[str, Path]]
    copies: list[tuple[str, str, str]]
    names: dict[str, str]
    photographs: dict[str, str]


def plant(golden: GoldenSet, folder: Path, policy: PolicyContract) -> Planted:
    """Plant a copy of every kind of one picture a photograph; pictures out of scope stand among them."""
    planted = Planted([], [], {}, {})

    def add(content: bytes, path: Path, name: str, photograph: str) -> str:
        key = hashlib.sha256(content).hexdigest()
        if key not in planted.names:
            planted.files.append((key, path))
            planted.names[key], planted.photographs[key] = name, photograph
        return key

    taken: set[str] = set()
    for item in golden.items:
        photograph = item.photograph or item.id
        if item.set == "edge_cases" or item.derived_from or photograph in taken:
            continue
        path = Path(item.path)
        content = read_file(path, policy.pixel_pipeline)
        image = decode(content, policy.pixel_pipeline).image
        if image.width * image.height > MOST_PIXELS:
            continue
        taken.add(photograph)
        original = add(content, path, item.id, photograph)
        if item.set != "in_scope":
            continue
        for kind, (change, quality) in (WHOLE | PARTS).items():
            buffer, made = io.BytesIO(), change(image)
            made.save(buffer, "PNG", compress_level=1) if quality is None else made.save(
                buffer, "JPEG", quality=quality
            )
            target = folder / f"{item.id}-{kind}.{'png' if quality is None else 'jpg'}"
            write_bytes(target, buffer.getvalue())
            copy = add(buffer.getvalue(), target, f"{item.id} {kind}", photograph)
            planted.copies.append((kind, original, copy))
    return planted
