"""One face in many framings: how much of the picture it fills, and where a finder sees it then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.blazeface import overlap
from ecdd.pipeline.face import Face, FaceBackend, is_certain
from gates.support.portraits import Portrait, open_portrait

# longer side of the face box / side of the square picture; above 1 the picture cuts brow and chin off
SHARES: Final[Mapping[str, float]] = {"wide": 0.15, "portrait": 0.4, "tight": 0.75, "all_face": 0.95, "cut": 1.1}
LARGEST_SIDE: Final = 900  # a face of golden size in the widest picture, so that no picture gets huge
GREY: Final = (128, 128, 128)


@dataclass(frozen=True)
class Framed:
    """A face in one framing.

    Attributes
    ----------
    name, framing : str
        Of the portrait; of the framing.
    image : PIL.Image.Image
        The picture.
    box : tuple of float
        Where the face is in it, as the plain portrait's detection says.
    """

    name: str
    framing: str
    image: Image.Image
    box: tuple[float, float, float, float]


def certain_faces(image: Image.Image, finder: FaceBackend, policy: PolicyContract) -> list[Face]:
    """Faces that count, best first."""
    return [face for face in finder.detect(image) if is_certain(face, policy.face_detector)]


def reframed(image: Image.Image, box: Sequence[float], share: float) -> tuple[Image.Image, tuple[float, ...]]:
    """Square picture of which a face fills ``share``; grey stands where the source has no pixels.

    Returns
    -------
    image : PIL.Image.Image
        Not resampled.
    box : tuple of float
        The face's box there.
    """
    face_side = max(box[2] - box[0], box[3] - box[1])
    side = max(round(face_side / share), 1)
    corner = []
    for low, high, length in zip(box[:2], box[2:], image.size, strict=True):
        start = round((low + high - side) / 2)
        corner.append(min(max(start, 0), length - side) if side <= length else (length - side) // 2)
    x, y = corner
    canvas = Image.new("RGB", (side, side), GREY)
    canvas.paste(image, (-x, -y))
    return canvas, (box[0] - x, box[1] - y, box[2] - x, box[3] - y)


def framed_portraits(portraits: Iterable[Portrait], finder: FaceBackend, policy: PolicyContract) -> list[Framed]:
    """Every portrait with one face of sufficient size in every framing, and small in a portrait's framing.

    The face's box is the one found in the plain portrait.
    """
    least, found = policy.quality_gates.min_face_side, []
    for portrait in portraits:
        plain = open_portrait(portrait, policy)
        plain.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BILINEAR)
        faces = certain_faces(plain, finder, policy)
        if len(faces) != 1 or faces[0].side < least:
            continue
        box = faces[0].box
        for name, share in SHARES.items():
            image, there = reframed(plain, box, share)
            found.append(Framed(portrait.name, name, image, (there[0], there[1], there[2], there[3])))
        image, there = reframed(plain, box, SHARES["portrait"])
        scale = 1.05 * least / faces[0].side
        small = image.resize([max(round(length * scale), 1) for length in image.size], Image.Resampling.BILINEAR)
        x0, y0, x1, y1 = (value * small.width / image.width for value in there)
        found.append(Framed(portrait.name, "small", small, (x0, y0, x1, y1)))
    return found


def moved(face: Face, box: Sequence[float]) -> float:
    """How far a face's square is from another box: shift of the centre or change of the side / that box's side."""
    side = max(box[2] - box[0], box[3] - box[1])
    shifts = [abs(face.box[k] + face.box[k + 2] - box[k] - box[k + 2]) / 2 for k in (0, 1)]
    return float(max(*shifts, abs(face.side - side)) / side)


def look_rows(framed: Iterable[Framed], finder: FaceBackend, policy: PolicyContract) -> list[dict[str, Any]]:
    """One row a picture: whether the face was found (overlap of 0.5 at least), by which look, and how far it moved."""
    rows = []
    for picture in framed:
        best: dict[str, Any] = {"found": False, "look": "", "moved": float("nan")}
        for face in certain_faces(picture.image, finder, policy):
            shared = overlap(np.array(picture.box), np.array([face.box]))[0]
            if shared >= 0.5 and not best["found"]:
                best = {"found": True, "look": face.look, "moved": moved(face, picture.box)}
        rows.append({"name": picture.name, "framing": picture.framing, **best})
    return rows


def recall_by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, tuple[float, int]]:
    """Share of rows with a face found and number of rows, by the value of a column."""
    groups: dict[str, list[bool]] = {}
    for row in rows:
        groups.setdefault(str(row[key]), []).append(bool(row["found"]))
    return {name: (sum(found) / len(found), len(found)) for name, found in sorted(groups.items())}
