"""Which part of a picture a generator replaces: all of it, the face, or a blot in the face."""

from __future__ import annotations

from typing import Final

import numpy as np

from ecdd.training.forgeries.face_shape import OUTLINE, frame_of, outline_in_picture, soft_polygon
from ecdd.training.forgeries.forgery import FacePicture, Mask

# Whole pictures come from generators, faces from swaps, blots from inpainting.
REGIONS: Final = ("picture", "face", "blot")
SHARES: Final = (0.4, 0.35, 0.25)
BLOT_CORNERS: Final = 14


def draw_region(source: FacePicture, rng: np.random.Generator) -> tuple[Mask, str]:
    """Draw the place of a local forgery.

    Parameters
    ----------
    source : FacePicture
        Says where the face is.
    rng : Generator
        Decides kind, shape, place and softness.

    Returns
    -------
    tuple of (ndarray of float32, (H, W)), str
        Mask in 0 … 1, and the kind, one of `REGIONS`.
    """
    kind = str(rng.choice(REGIONS, p=SHARES))
    if kind == "picture":
        return np.ones((source.size[1], source.size[0]), np.float32), kind
    frame = frame_of(source.face.landmarks)
    unit = float(np.hypot(frame[0, 0], frame[1, 0]))
    softness = unit * float(rng.uniform(0.02, 0.1))
    if kind == "face":
        jitter = rng.normal(0.0, 0.05, OUTLINE.shape)
        return soft_polygon(source.size, outline_in_picture(source.face.landmarks, jitter), softness), kind
    # a blot lies about one of the places that are retouched: an eye, the nose, the mouth
    centre = np.array(source.face.landmarks[int(rng.integers(4))])
    angles = np.linspace(0.0, 2 * np.pi, BLOT_CORNERS, endpoint=False)
    reach = unit * rng.uniform(0.35, 0.8) * np.exp(rng.normal(0.0, 0.15, BLOT_CORNERS))
    corners = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return soft_polygon(source.size, corners, softness), kind


def window_of(mask: Mask, multiple: int, margin: int) -> tuple[int, int, int, int]:
    """Box about the mask's non-zero pixels with a margin, inside the picture: ``x0, y0, x1, y1``.

    Its corner lies on a multiple of ``multiple`` counted from the picture's corner, so that traces of a whole
    picture and of a part share one phase; its end is the picture's where the picture ends first.
    """
    ends = []
    for axis, length in ((0, mask.shape[1]), (1, mask.shape[0])):
        used = np.flatnonzero(mask.any(axis=axis))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        low = max(low - margin, 0) // multiple * multiple
        ends.append((low, min(-(-(high + margin - low) // multiple) * multiple + low, length)))
    (x0, x1), (y0, y1) = ends
    return x0, y0, x1, y1
