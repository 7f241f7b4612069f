"""Portraits put together into long pictures: in a row, stacked, of one size and of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.blazeface import overlap
from ecdd.pipeline.face import FaceBackend
from gates.support.framings import GREY, LARGEST_SIDE, SHARES, certain_faces, moved, reframed
from gates.support.portraits import Portrait, open_portrait

Box = tuple[float, ...]
Placed = tuple[Image.Image, Box]  # a portrait and its face's box

MEMBERS: Final = 4
GAP: Final = 20  # of grey between portraits and about them, pixels
SIDE: Final = 300  # width of the portraits of a stack, height of those in a row
MIXED: Final = (400, 240, 330, 270)  # the same of portraits of several sizes
# longer side of faces that are framed alike / the contract's smallest face
ALIKE: Final = (1.1, 2.2, 1.3, 1.7)


@dataclass(frozen=True)
class Group:
    """A long picture and where its faces lie, as the detections in the plain portraits say."""

    name: str
    image: Image.Image
    boxes: tuple[Box, ...]


def placed_portraits(portraits: Iterable[Portrait], finder: FaceBackend, policy: PolicyContract) -> list[Placed]:
    """Portraits with one face, of moderate size."""
    found: list[Placed] = []
    for portrait in portraits:
        plain = open_portrait(portrait, policy)
        plain.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BILINEAR)
        faces = certain_faces(plain, finder, policy)
        if len(faces) == 1:
            found.append((plain, faces[0].box))
    return found


def scaled(placed: Placed, factor: float) -> Placed:
    """A portrait made larger or smaller."""
    image, box = placed
    size = [max(round(length * factor), 1) for length in image.size]
    x, y = (new / old for new, old in zip(size, image.size, strict=True))
    there = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS), there


def together(members: Sequence[Placed], *, stacked: bool, name: str = "") -> Group:
    """Whole portraits beside or above each other on grey."""
    along = 1 if stacked else 0
    size = [max(image.size[k] for image, _ in members) + 2 * GAP for k in (0, 1)]
    size[along] = sum(image.size[along] + GAP for image, _ in members) + GAP
    canvas, boxes, corner = Image.new("RGB", (size[0], size[1]), GREY), [], [GAP, GAP]
    for image, box in members:
        canvas.paste(image, (corner[0], corner[1]))
        boxes.append(tuple(value + corner[k % 2] for k, value in enumerate(box)))
        corner[along] += image.size[along] + GAP
    return Group(name, canvas, tuple(boxes))


def long_groups(placed: Sequence[Placed]) -> dict[str, list[Group]]:
    """Groups of four whole portraits by kind: stacked, and of several sizes, in a row and stacked."""
    kinds: dict[str, tuple[Sequence[int], bool]] = {
        "stacked": ([SIDE] * MEMBERS, True),
        "mixed_sizes": (MIXED, False),
        "stacked_mixed_sizes": (MIXED, True),
    }
    return {
        kind: [
            together(
                [scaled(one, side / one[0].size[not stacked]) for one, side in zip(members, sides, strict=True)],
                stacked=stacked,
                name=name,
            )
            for name, members in _by_four(placed)
        ]
        for kind, (sides, stacked) in kinds.items()
    }


def groups_framed_alike(placed: Sequence[Placed], least: int) -> list[Group]:
    """Rows of four faces that each fill the same share of their part, made larger or smaller than they were."""
    found = []
    for name, members in _by_four(placed):
        framed = []
        for (image, box), factor in zip(members, ALIKE, strict=True):
            side = max(box[2] - box[0], box[3] - box[1])
            framed.append(scaled(reframed(image, box, SHARES["portrait"]), factor * least / side))
        found.append(together(framed, stacked=False, name=name))
    return found


def _by_four(placed: Sequence[Placed]) -> list[tuple[str, Sequence[Placed]]]:
    starts = range(0, len(placed) - MEMBERS + 1, MEMBERS)
    return [(f"group {start // MEMBERS + 1}", placed[start : start + MEMBERS]) for start in starts]


def group_rows(groups: Iterable[Group], finder: FaceBackend, policy: PolicyContract) -> list[dict[str, Any]]:
    """One row a face of sufficient size: found (overlap of 0.5 at least), moved how far; one more a face too many."""
    rows, least = [], policy.quality_gates.min_face_side
    for group in groups:
        faces = certain_faces(group.image, finder, policy)
        seen = np.array([face.box for face in faces]).reshape(-1, 4)
        taken: set[int] = set()
        for place, box in enumerate(group.boxes):
            shared = overlap(np.array(box), seen)
            at = [int(shared.argmax())] if len(faces) and shared.max() >= 0.5 else []
            taken |= set(at)
            if max(box[2] - box[0], box[3] - box[1]) >= least:
                name, move = f"{group.name} face {place + 1}", moved(faces[at[0]], box) if at else float("nan")
                rows.append({"name": name, "kind": "face", "found": bool(at), "moved": move})
        nobody = {"name": group.name, "kind": "too_many", "found": True, "moved": float("nan")}
        rows += [nobody] * (len(faces) - len(taken))
    return rows
