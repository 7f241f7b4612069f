"""Face swaps: the face of one person, laid onto another's by a mesh, matched in colour and blended in.

Training material only. Swaps between real people are made in memory, and neither committed nor shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.face import Face
from ecdd.pipeline.face_mesh import Mesh
from ecdd.training.forgeries.face_mesh import INNER_LIPS, load_face_mesh
from ecdd.training.forgeries.face_shape import soft_polygon
from ecdd.training.forgeries.forgery import FacePicture, Forgery, ForgeryRefused, Mask, Picture, blend
from ecdd.training.forgeries.mesh_warp import KERNELS, folded_share, triangulate, warped

NAME: Final = "face_swap"
BLENDS: Final = ("seamless", "alpha")
MAX_YAW: Final = math.radians(35)  # of either head: beyond it half of the face is hidden
MAX_YAW_DIFFERENCE: Final = math.radians(22)
MAX_FOLDED: Final = 0.04  # share of the face's area for which the donor has no texture
MIN_DONOR: Final = 0.4  # smallest size of the donor's face relative to the destination's
BORDER: Final = 8  # px round the face on which the seamless clone may rest


@dataclass(frozen=True)
class _Drawn:
    """What a seed decides."""

    kernel: str
    blend: str
    colour: float
    shrink: float
    softness: float


def swap_face(target: FacePicture, seed: int, donor: FacePicture) -> Forgery:
    """Put the donor's face onto the target's head.

    Parameters
    ----------
    target : FacePicture
        Keeps head, hair, expression's place and background.
    seed : int
        Decides kernel, blending, strength of the colour transfer, extent and softness.
    donor : FacePicture
        Gives the face; mirrored where that brings the two heads' turns together.

    Returns
    -------
    Forgery
        Pixels outside the mask are those of ``target``, bit for bit.

    Raises
    ------
    ForgeryRefused
        One face is turned too far, the two are turned differently, the donor's is too small, or there is no face.
    """
    rng = np.random.default_rng(seed)
    drawn = _Drawn(
        kernel=str(rng.choice(sorted(KERNELS))),
        blend=BLENDS[int(rng.integers(len(BLENDS)))],
        colour=float(rng.uniform(0.6, 1.0)),
        # nearer to the mesh's edge lie hair and background, whose colours a seamless clone would draw into the face
        shrink=float(rng.uniform(0.06, 0.16)),
        softness=float(rng.uniform(0.015, 0.06)),
    )
    here = load_face_mesh().find(target)
    taken, there, mirrored = _faced_alike(donor, here)
    size = float(np.ptp(here.points, axis=0).max())
    picture, points, ratio = _reduced(taken.picture, there.points, size)
    box, points_here = _window(here.points, target.size)
    below = _cut(target.picture, box)
    triangles = triangulate(points_here)
    folded = folded_share(triangles, points, points_here)
    if folded > MAX_FOLDED:
        raise ForgeryRefused("donor hides a part", f"{folded:.3f} of the face, at most {MAX_FOLDED}")
    laid, hull, _ = warped(picture, points, points_here, (below.shape[1], below.shape[0]), drawn.kernel)
    laid = _recoloured(laid, below, hull > 0, drawn.colour)
    mask = _inner(hull, size, drawn)
    keeps_mouth = _opening(points_here) > 1.5 * _opening(points) + 0.04
    if keeps_mouth:
        mask *= 1 - soft_polygon((mask.shape[1], mask.shape[0]), points_here[list(INNER_LIPS)], 0.008 * size)
    if drawn.blend == "seamless":
        laid = _seamless(laid, below, mask)
    made = blend(below, laid.astype(np.float64), mask)
    parameters: dict[str, float | int | str] = {
        "blend": drawn.blend,
        "kernel": drawn.kernel,
        "colour_transfer": round(drawn.colour, 3),
        "shrink": round(drawn.shrink, 4),
        "softness": round(drawn.softness * size, 2),
        "donor_mirrored": int(mirrored),
        "target_keeps_mouth": int(keeps_mouth),
        "donor_scale": round(ratio, 3),
        "yaw_difference": round(math.degrees(abs(here.yaw - there.yaw)), 1),
        "folded": round(folded, 4),
    }
    return _pasted(target, made, mask, box, parameters)


def mirrored(source: FacePicture) -> FacePicture:
    """The picture seen in a mirror; the landmarks change sides with it."""
    width = source.size[0]
    x0, y0, x1, y1 = source.face.box
    marks = [(width - x, y) for x, y in source.face.landmarks]
    marks[:2] = marks[1::-1]
    if len(marks) >= 6:
        marks[4:6] = marks[5:3:-1]
    face = Face((width - x1, y0, width - x0, y1), source.face.score, tuple(marks))
    return FacePicture(np.ascontiguousarray(source.picture[:, ::-1]), face)


def _faced_alike(donor: FacePicture, here: Mesh) -> tuple[FacePicture, Mesh, bool]:
    """The donor, or its mirror picture where the head is turned the other way."""
    there = load_face_mesh().find(donor)
    flip = there.yaw * here.yaw < 0
    if flip:
        donor = mirrored(donor)
        there = load_face_mesh().find(donor)
    for name, yaw in (("target", here.yaw), ("donor", there.yaw)):
        if abs(yaw) > MAX_YAW:
            raise ForgeryRefused(f"{name} turned too far", _degrees(yaw, MAX_YAW))
    if abs(there.yaw - here.yaw) > MAX_YAW_DIFFERENCE:
        raise ForgeryRefused("heads turned differently", _degrees(there.yaw - here.yaw, MAX_YAW_DIFFERENCE))
    return donor, there, flip


def _opening(points: NDArray[np.float64]) -> float:
    """How far the lips are apart, in widths of the mouth.

    A closed mouth has no texture for an open one: its lips would be drawn out over the teeth.
    """
    left, right = points[INNER_LIPS[0]], points[INNER_LIPS[10]]
    upper, lower = points[INNER_LIPS[5]], points[INNER_LIPS[15]]
    return float(np.linalg.norm(lower - upper) / max(float(np.linalg.norm(right - left)), 1e-6))


def _degrees(value: float, limit: float) -> str:
    return f"{math.degrees(abs(value)):.0f} degrees, at most {math.degrees(limit):.0f}"


def _reduced(picture: Picture, points: NDArray[np.float64], size: float) -> tuple[Picture, NDArray[np.float64], float]:
    """Bring a larger donor down to the destination's size, so that the warp does not alias; never up."""
    ratio = float(np.ptp(points, axis=0).max()) / size
    if ratio < MIN_DONOR:
        raise ForgeryRefused("donor's face too small", f"{ratio:.2f} of the target's, at least {MIN_DONOR}")
    if ratio <= 1.05:
        return picture, points, ratio
    image = Image.fromarray(picture)
    width, height = max(round(image.width / ratio), 1), max(round(image.height / ratio), 1)
    scale = np.array([width / image.width, height / image.height])
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), points * scale, ratio


Box = tuple[int, int, int, int]


def _window(points: NDArray[np.float64], size: tuple[int, int]) -> tuple[Box, NDArray[np.float64]]:
    """Box about the face with a border, which may reach beyond the picture, and the points inside it."""
    low = np.floor(points.min(axis=0)).astype(int) - BORDER
    high = np.ceil(points.max(axis=0)).astype(int) + BORDER
    middle = points.mean(axis=0)
    if not ((middle >= 0).all() and (middle < size).all()):
        raise ForgeryRefused("face beyond the picture", f"its middle is at {middle.round()}, the picture is {size}")
    return (int(low[0]), int(low[1]), int(high[0]), int(high[1])), points - low


def _cut(picture: Picture, box: Box) -> Picture:
    """The box's pixels; beyond the edge the picture's last row or column goes on."""
    rows = np.clip(np.arange(box[1], box[3]), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(box[0], box[2]), 0, picture.shape[1] - 1)
    return np.ascontiguousarray(picture[rows[:, None], columns])


def _recoloured(laid: Picture, below: Picture, inside: NDArray[np.bool_], strength: float) -> Picture:
    """Bring mean and spread of each CIELAB channel to the target's (Reinhard et al., 2001), by ``strength``."""
    lab, want = (cv2.cvtColor(p.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) for p in (laid, below))
    given, wanted = lab[inside].astype(np.float64), want[inside].astype(np.float64)
    gain = np.clip(wanted.std(axis=0) / np.maximum(given.std(axis=0), 1e-3), 0.0, 2.0)
    # a grey target has no colour at all: that is not a matter of degree
    share = np.where(wanted.std(axis=0) < 0.2, 1.0, strength)
    matched = (given - given.mean(axis=0)) * gain + wanted.mean(axis=0)
    lab[inside] = (given + share * (matched - given)).astype(np.float32)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    made = np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)
    made[~inside] = 0
    return made


def _inner(hull: Mask, size: float, drawn: _Drawn) -> Mask:
    """Soft mask that ends inside the hull: 0 where there is no texture."""
    softness = drawn.softness * size
    # the distance to the hull's edge, also where the hull is cut off by the window
    padded = cv2.copyMakeBorder((hull > 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    ramp = np.clip((distance - drawn.shrink * size / 2) / max(2 * softness, 1.0), 0.0, 1.0)
    smooth: Mask = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return smooth


def _seamless(laid: Picture, below: Picture, mask: Mask) -> Picture:
    """Poisson blending: the donor's gradients inside, the target's colours along the border."""
    inside = (mask > 0).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(inside)
    if width < 3 or height < 3:
        raise ForgeryRefused("face too small to blend", f"{width} x {height} pixels, at least 3 x 3")
    cloned = cv2.seamlessClone(laid, below, inside, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    return np.asarray(cloned, dtype=np.uint8)


def _pasted(
    target: FacePicture, made: Picture, mask: Mask, box: Box, parameters: dict[str, float | int | str]
) -> Forgery:
    """Put the window back into the picture."""
    width, height = target.size
    x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    part = np.s_[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
    picture, whole = target.picture.copy(), np.zeros((height, width), np.float32)
    picture[y0:y1, x0:x1] = made[part]
    whole[y0:y1, x0:x1] = mask[part]
    return Forgery(picture, whole, NAME, parameters)
