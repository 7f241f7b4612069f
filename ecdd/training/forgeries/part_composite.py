"""Hand-made composites: eyes, nose or mouth of another person, cut out, fitted in size and colour, and blended in.

What a patient hand does with an image editor: the head, its outline and its skin stay, one to three parts do not
belong to it. No mesh is asked for: parts are placed by the detector's landmarks, as a hand does by eye.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.training.forgeries.face_shape import (
    Matrix,
    composed,
    frame_of,
    inverted,
    soft_polygon,
    warp,
)
from ecdd.training.forgeries.forgery import FacePicture, Forgery, ForgeryRefused, Mask, Picture, blend

NAME: Final = "part_composite"
MIN_DONOR: Final = 0.5  # smallest distance of the donor's eyes relative to the target's
EXTENTS: Final[dict[str, tuple[tuple[float, float, float, float], ...]]] = {
    # middle and half axes of ellipses in the face frame: eyes at (-0.5, 0) and (0.5, 0), mouth at (0, 1.07)
    "eyes": ((-0.5, -0.03, 0.36, 0.26), (0.5, -0.03, 0.36, 0.26)),
    "eye_left": ((-0.5, -0.03, 0.36, 0.26),),
    "eye_right": ((0.5, -0.03, 0.36, 0.26),),
    "eye_band": ((0.0, -0.05, 0.98, 0.36),),
    "nose": ((0.0, 0.45, 0.30, 0.42),),
    "mouth": ((0.0, 1.08, 0.48, 0.28),),
    "lower_half": ((0.0, 1.05, 0.72, 0.58),),
    "middle": ((0.0, 0.5, 0.85, 0.9),),
}
CORNERS: Final = 20


def composite_parts(target: FacePicture, seed: int, donor: FacePicture) -> Forgery:
    """Put one to three parts of the donor's face into the target's.

    Parameters
    ----------
    target : FacePicture
        Keeps everything else.
    seed : int
        Decides parts, place, size, colour and softness.
    donor : FacePicture
        Gives the parts; a larger one is reduced, never enlarged beyond `MIN_DONOR`.

    Returns
    -------
    Forgery
        Pixels outside the mask are those of ``target``, bit for bit.

    Raises
    ------
    ForgeryRefused
        The donor's face is too small.
    ValueError
        Landmarks coincide.
    """
    rng = np.random.default_rng(seed)
    here, there = frame_of(target.face.landmarks), frame_of(donor.face.landmarks)
    picture, there, ratio = _reduced(donor.picture, there, _unit(here))
    names = sorted(EXTENTS)
    parts = sorted({names[int(k)] for k in rng.integers(len(names), size=int(rng.integers(1, 4)))})
    shift, scale = rng.uniform(-0.04, 0.04, 2), float(rng.uniform(0.94, 1.06))
    change = np.array([[1 / scale, 0.0, -shift[0]], [0.0, 1 / scale, -shift[1]]])
    laid = np.asarray(warp(Image.fromarray(picture), composed(there, composed(change, inverted(here))), target.size))
    softness, colour = float(rng.uniform(0.015, 0.09)), float(rng.uniform(0.5, 1.0))
    made, whole = target.picture, np.zeros(target.picture.shape[:2], np.float32)
    for name in parts:
        for ellipse in EXTENTS[name]:
            mask = _mask(ellipse, here, target.size, softness, rng)
            made = blend(made, _recoloured(laid, target.picture, mask, colour), mask)
            whole = np.maximum(whole, mask)
    parameters: dict[str, float | int | str] = {
        "parts": "+".join(parts),
        "donor_scale": round(ratio, 3),
        "softness": round(softness * _unit(here), 2),
        "colour_transfer": round(colour, 3),
        "scale": round(scale, 4),
    }
    return Forgery(made, whole, NAME, parameters)


def _unit(frame: Matrix) -> float:
    """Distance of the eyes, px."""
    return float(np.hypot(frame[0, 0], frame[1, 0]))


def _reduced(picture: Picture, frame: Matrix, unit: float) -> tuple[Picture, Matrix, float]:
    """Bring a larger donor down to the target's size, so that moving it does not alias."""
    ratio = _unit(frame) / unit
    if ratio < MIN_DONOR:
        raise ForgeryRefused("donor's face too small", f"{ratio:.2f} of the target's, at least {MIN_DONOR}")
    if ratio <= 1.05:
        return picture, frame, ratio
    image = Image.fromarray(picture)
    size = (max(round(image.width / ratio), 1), max(round(image.height / ratio), 1))
    scale = np.array([[size[0] / image.width], [size[1] / image.height]])
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS)), frame * scale, ratio


def _mask(
    ellipse: tuple[float, float, float, float],
    frame: Matrix,
    size: tuple[int, int],
    softness: float,
    rng: np.random.Generator,
) -> Mask:
    """Soft ellipse with a drawn, uneven edge, as a hand's."""
    x, y, a, b = ellipse
    angles = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    reach = 1 + rng.normal(0.0, 0.06, CORNERS) + rng.uniform(-0.1, 0.1)
    corners = np.stack([x + a * reach * np.cos(angles), y + b * reach * np.sin(angles)], axis=1)
    return soft_polygon(size, corners @ frame[:, :2].T + frame[:, 2], softness * _unit(frame))


def _recoloured(laid: Picture, below: Picture, mask: Mask, strength: float) -> NDArray[np.float64]:
    """Bring mean and spread of each channel inside the mask to the target's, by ``strength``."""
    inside = mask > 0.5
    moved = laid.astype(np.float64)
    if not inside.any():
        return moved
    given, wanted = moved[inside], below[inside].astype(np.float64)
    gain = np.clip(wanted.std(axis=0) / np.maximum(given.std(axis=0), 1e-3), 0.6, 1.6)
    matched = (moved - given.mean(axis=0)) * gain + wanted.mean(axis=0)
    mixed: NDArray[np.float64] = np.clip(moved + strength * (matched - moved), 0, 255)
    return mixed
