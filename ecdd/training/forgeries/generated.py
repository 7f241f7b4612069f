"""Fully generated faces: drawn from the statistics of many aligned faces, of nobody in particular.

Brightness and colour come from a principal-component model; fine texture is noise with the spectrum and the
strength that real faces have at each place. Two up-sampling steps with the [1, 3, 3, 1] kernel of image
generators bring the face to its final size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ecdd.training.forgeries.forgery import Forgery

NAME: Final = "generated"
STATISTICS: Final = Path(__file__).with_name("weights") / "face_statistics.npz"
LUMA_SIDE: Final = 128  # side of the canvas on which faces are aligned, pixels
CHROMA_SIDE: Final = 48
TEXTURE_SIDE: Final = 512  # canvas on which fine texture is measured
EYE_DISTANCE: Final = 30.0  # on the luma canvas, pixels
EYES_AT: Final = (64.0, 54.0)  # middle between the eyes on the luma canvas, pixels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FaceStatistics:
    """What is known about aligned faces.

    Attributes
    ----------
    mean : ndarray of float64, (128² + 2·48²,)
        Mean luma (0 … 255), then mean Cb and Cr (-128 … 127).
    components : ndarray of float64, (K, 128² + 2·48²)
        Principal components, scaled by their standard deviation.
    texture : ndarray of float64, (64, 64)
        Standard deviation of fine texture by place, grey levels.
    spectrum : ndarray of float64, (65,)
        Mean amplitude of fine texture by radial frequency, 0 … 0.5 cycles a pixel, mean square 1.
    faces : int
        Number of faces behind the statistics.
    """

    mean: Array
    components: Array
    texture: Array
    spectrum: Array
    faces: int


def load_statistics(path: Path = STATISTICS) -> FaceStatistics:
    """Load the packaged statistics, or those that ``python -m ecdd.training.forgeries.fit_faces`` has made.

    Raises
    ------
    FileNotFoundError
        No such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no statistics; make them with python -m ecdd.training.forgeries.fit_faces")
    with np.load(path) as stored:
        return FaceStatistics(
            mean=stored["mean"].astype(np.float64),
            components=stored["components"].astype(np.float64) * stored["steps"].astype(np.float64)[:, None],
            texture=stored["texture"].astype(np.float64),
            spectrum=stored["spectrum"].astype(np.float64),
            faces=int(stored["faces"]),
        )


def generate_face(statistics: FaceStatistics, seed: int, *, spread: float = 0.7) -> Forgery:
    """Draw one face.

    Parameters
    ----------
    statistics : FaceStatistics
        See :func:`load_statistics`.
    seed : int
        Decides everything.
    spread : float
        Standard deviation of the coefficients relative to the faces behind the statistics, > 0.

    Returns
    -------
    Forgery
        512 x 512; the mask is 1 everywhere.
    """
    rng = np.random.default_rng(seed)
    weights = np.clip(rng.normal(0.0, 1.0, len(statistics.components)), -2.0, 2.0) * spread
    drawn = statistics.mean + weights @ statistics.components
    luma = drawn[: LUMA_SIDE**2].reshape(LUMA_SIDE, LUMA_SIDE)
    chroma = drawn[LUMA_SIDE**2 :].reshape(2, CHROMA_SIDE, CHROMA_SIDE)
    strength = float(rng.uniform(0.45, 0.65))
    luma = _sharpened(luma, 2.0, 0.9)
    luma = _doubled(luma) + 0.5 * strength * _texture(statistics, 2 * LUMA_SIDE, rng)
    luma = _sharpened(luma, 1.5, 0.7)
    luma = _doubled(luma) + strength * _texture(statistics, 4 * LUMA_SIDE, rng)
    picture = _to_rgb(luma, chroma)
    mask = np.ones(picture.shape[:2], dtype=np.float32)
    return Forgery(picture, mask, NAME, {"spread": spread, "texture_strength": round(strength, 4)})


def _doubled(plane: Array) -> Array:
    """Twice the size: zeros between the samples, then the separable kernel [1, 3, 3, 1] / 4."""
    for axis in (0, 1):
        before = np.concatenate(
            [plane.take([0], axis=axis), plane.take(range(plane.shape[axis] - 1), axis=axis)], axis=axis
        )
        after = np.concatenate(
            [plane.take(range(1, plane.shape[axis]), axis=axis), plane.take([-1], axis=axis)], axis=axis
        )
        pair = np.stack([0.25 * before + 0.75 * plane, 0.75 * plane + 0.25 * after], axis=axis + 1)
        shape = list(plane.shape)
        shape[axis] *= 2
        plane = pair.reshape(shape)
    return plane


def resized(plane: Array, side: int) -> Array:
    """Square plane at another side, bicubic with antialiasing."""
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)


def _sharpened(plane: Array, radius: float, amount: float) -> Array:
    """Unsharp mask in float; the blur itself is the 8-bit one of Pillow on a shifted, clipped copy."""
    soft = Image.fromarray(np.clip(np.rint(plane), 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return plane + amount * (plane - np.asarray(soft, dtype=np.float64))


def _texture(statistics: FaceStatistics, side: int, rng: np.random.Generator) -> Array:
    """Noise with the measured radial spectrum and the measured local strength, grey levels, (side, side)."""
    noise = np.fft.rfft2(rng.normal(0.0, 1.0, (side, side)))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius = np.minimum(np.hypot(fy, fx), 0.5)
    shaped = np.fft.irfft2(
        noise * np.interp(radius, np.linspace(0, 0.5, len(statistics.spectrum)), statistics.spectrum), (side, side)
    )
    texture: Array = shaped / shaped.std() * np.maximum(resized(statistics.texture, side), 0.0)
    return texture


def _to_rgb(luma: Array, chroma: Array) -> NDArray[np.uint8]:
    """BT.601 full range (as in JPEG) from planes of two sizes."""
    cb, cr = (resized(plane, luma.shape[0]) for plane in chroma)
    rgb = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], axis=2)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
