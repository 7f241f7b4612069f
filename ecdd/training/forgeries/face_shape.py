"""Where the face is: an average face outline fitted to the six landmarks of the face detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ecdd.training.forgeries.forgery import Mask

# Face frame: eyes at (-0.5, 0) and (0.5, 0), y downwards, unit = distance of the eyes.
# Order of BlazeFace: eye on the left of the picture, eye on its right, nose tip, mouth, ear left, ear right.
LANDMARKS: Final = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, 0.62), (0.0, 1.07), (-1.12, 0.18), (1.12, 0.18)])
# Only eyes and mouth steer the fit of frames: ears and nose tip move far when a head turns.
STEERING: Final = (0, 1, 3)
OUTLINE: Final = np.array(
    [
        (0.0, -0.75), (0.45, -0.72), (0.82, -0.52), (1.02, -0.12), (1.04, 0.4), (0.96, 0.9), (0.76, 1.35),
        (0.42, 1.72), (0.0, 1.82), (-0.42, 1.72), (-0.76, 1.35), (-0.96, 0.9), (-1.04, 0.4), (-1.02, -0.12),
        (-0.82, -0.52), (-0.45, -0.72),
    ]
)  # fmt: skip
Points = Sequence[tuple[float, float]]
Matrix = NDArray[np.float64]


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """Least-squares rotation, uniform scale and shift that bring points onto points.

    Parameters
    ----------
    source, target : ndarray of float64, (N, 2)
        N >= 2 corresponding points.

    Returns
    -------
    ndarray of float64, (2, 3)
        ``target ~ matrix[:, :2] @ source + matrix[:, 2]``.
    """
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    s, t = source - mean_source, target - mean_target
    norm = float((s**2).sum())
    if norm == 0.0 or float((t**2).sum()) == 0.0:
        raise ValueError("landmarks coincide: a face needs eyes and mouth at different places")
    a = float((s * t).sum()) / norm
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / norm
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (mean_target - linear @ mean_source)[:, None]])


def frame_of(landmarks: Points) -> Matrix:
    """Matrix (2, 3) from the face frame to picture pixels, from at least four detector landmarks."""
    if len(landmarks) < 4:
        raise ValueError(f"landmarks: eyes, nose and mouth are needed, got {len(landmarks)} points")
    points = np.asarray(landmarks, dtype=np.float64)
    return similarity(LANDMARKS[list(STEERING)], points[list(STEERING)])


def outline_in_picture(landmarks: Points, jitter: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Corners of the face outline in picture pixels.

    Parameters
    ----------
    landmarks : sequence of (x, y)
        Of the detector, picture pixels.
    jitter : ndarray of float64, (16, 2), optional
        Added to the corners, in eye distances.

    Returns
    -------
    ndarray of float64, (16, 2)
    """
    corners = OUTLINE if jitter is None else OUTLINE + jitter
    matrix = frame_of(landmarks)
    placed: NDArray[np.float64] = corners @ matrix[:, :2].T + matrix[:, 2]
    return placed


def soft_polygon(size: tuple[int, int], corners: NDArray[np.float64], softness: float) -> Mask:
    """Polygon with a soft edge.

    Parameters
    ----------
    size : tuple of int
        Width and height, pixels.
    corners : ndarray of float64, (N, 2)
        Pixels.
    softness : float
        Radius of the Gaussian that softens the edge, pixels, >= 0.

    Returns
    -------
    ndarray of float32, (H, W)
        0 … 1; exactly 0 where fewer than 1/255 remains.
    """
    canvas = Image.new("L", size, 0)
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    if softness > 0:
        canvas = canvas.filter(ImageFilter.GaussianBlur(softness))
    return np.asarray(canvas, dtype=np.float32) / np.float32(255.0)


def warp(picture: Image.Image, matrix: Matrix, size: tuple[int, int]) -> Image.Image:
    """Resample a picture through an affine map.

    Parameters
    ----------
    picture : PIL.Image.Image
        Any mode that bicubic resampling supports.
    matrix : ndarray of float64, (2, 3)
        From *output* pixels to pixels of ``picture``.
    size : tuple of int
        Width and height of the output.
    """
    return picture.transform(size, Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BICUBIC)


def inverted(matrix: Matrix) -> Matrix:
    """The affine map the other way round, (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, (-linear @ matrix[:, 2])[:, None]])


def composed(outer: Matrix, inner: Matrix) -> Matrix:
    """The affine map that applies ``inner`` first, then ``outer``, (2, 3)."""
    return np.hstack([outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]])
