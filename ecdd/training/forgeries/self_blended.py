"""Self-blended pictures: a face with altered colour, sharpness and place is blended into itself.

The person stays the person. What remains is what a face swap leaves as well: a soft seam along the face outline
and statistics that differ on its two sides (Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended
Images", CVPR 2022, describe the idea).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from ecdd.training.forgeries.face_shape import (
    OUTLINE,
    Points,
    composed,
    frame_of,
    inverted,
    outline_in_picture,
    soft_polygon,
    warp,
)
from ecdd.training.forgeries.forgery import Forgery, Picture, blend

NAME: Final = "self_blended"


def self_blend(picture: Picture, landmarks: Points, seed: int) -> Forgery:
    """Blend an altered copy of a face into itself.

    Parameters
    ----------
    picture : ndarray of uint8, (H, W, 3)
        RGB, upright.
    landmarks : sequence of (x, y)
        The detector's landmarks of the face, in pixels.
    seed : int
        Decides colour, sharpness, shift, outline, softness and share.

    Returns
    -------
    Forgery
        Pixels outside the mask are those of ``picture``, bit for bit.

    Raises
    ------
    ValueError
        Too few landmarks.
    """
    rng = np.random.default_rng(seed)
    frame = frame_of(landmarks)
    unit = float(np.hypot(frame[0, 0], frame[1, 0]))
    altered, parameters = _alter(Image.fromarray(picture), rng)
    shift, scale = rng.uniform(-0.06, 0.06, 2), float(rng.uniform(0.97, 1.03))
    copy = _move(altered, frame, (float(shift[0]), float(shift[1])), scale)
    jitter = rng.normal(0.0, 0.05, OUTLINE.shape)
    softness = unit * float(rng.uniform(0.04, 0.12))
    share = float(rng.choice([0.75, 1.0, 1.0]))
    mask = soft_polygon((picture.shape[1], picture.shape[0]), outline_in_picture(landmarks, jitter), softness)
    mask = mask * np.float32(share)
    parameters |= {
        "shift_x": round(float(shift[0]), 4),
        "shift_y": round(float(shift[1]), 4),
        "scale": round(scale, 4),
        "softness": round(softness, 2),
        "share": share,
    }
    return Forgery(blend(picture, np.asarray(copy, dtype=np.float64), mask), mask, NAME, parameters)


def _alter(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, dict[str, float | int | str]]:
    """Colour and sharpness of the copy."""
    gains = rng.uniform(0.94, 1.06, 3)
    scaled = np.asarray(image, dtype=np.float64) * gains
    image = Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
    saturation, contrast = float(rng.uniform(0.85, 1.2)), float(rng.uniform(0.92, 1.1))
    image = ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(saturation)).enhance(contrast)
    kind = str(rng.choice(["sharpened", "resampled"]))
    if kind == "sharpened":
        image = image.filter(ImageFilter.UnsharpMask(radius=1.5, percent=int(rng.integers(60, 140)), threshold=0))
    else:
        factor = float(rng.uniform(0.65, 0.9))
        small = image.resize(
            (max(round(image.width * factor), 1), max(round(image.height * factor), 1)), Image.Resampling.LANCZOS
        )
        image = small.resize(image.size, Image.Resampling.BICUBIC)
    return image, {
        "gain_red": round(float(gains[0]), 4),
        "gain_green": round(float(gains[1]), 4),
        "gain_blue": round(float(gains[2]), 4),
        "saturation": round(saturation, 4),
        "contrast": round(contrast, 4),
        "detail": kind,
    }


def _move(image: Image.Image, frame: np.ndarray, shift: tuple[float, float], scale: float) -> Image.Image:
    """Shift (in eye distances) and scale about the middle between the eyes."""
    change = np.array([[1 / scale, 0.0, -shift[0]], [0.0, 1 / scale, -shift[1]]])
    return warp(image, composed(frame, composed(change, inverted(frame))), image.size)
