"""Find crops of one photograph by local features: what a perceptual hash of the whole picture cannot see.

SIFT points of each picture (on a grey copy of at most 256 px) are matched against every other picture, and matches
count only when one similarity (shift, turn, scale) explains them; the mirrored picture is tried too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE: Final = 256
MAX_POINTS: Final = 120
_DIMENSIONS: Final = 128
_MIN_COSINE: Final = 0.93
_MIN_MATCHES: Final = 6  # fewer matches are never tried, so counts below it are not distinguished from 0
_REPROJECTION_PX: Final = 4.0


@dataclass(frozen=True)
class LocalFeatures:
    """SIFT points of a picture and of its mirror image.

    Attributes
    ----------
    key : str
        SHA-256 of the file.
    points, mirrored_points : ndarray, float32, shape (n, 2)
        x, y in the small copy, px.
    descriptors, mirrored_descriptors : ndarray, float32, shape (n, 128)
        RootSIFT, unit length.
    """

    key: str
    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    mirrored_points: NDArray[np.float32]
    mirrored_descriptors: NDArray[np.float32]


def local_features(key: str, image: Image.Image) -> LocalFeatures:
    """Describe a picture by local features.

    Parameters
    ----------
    key : str
        SHA-256 of the file.
    image : Image
        S1.

    Returns
    -------
    LocalFeatures
        At most `MAX_POINTS` points each; a picture without texture may have none, and then only its perceptual
        hash speaks for it.
    """
    small = image.convert("L")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    points, descriptors = _sift(small)
    mirrored = _sift(small.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    return LocalFeatures(key, points, descriptors, *mirrored)


def _sift(small: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import cv2

    create: Any = getattr(cv2, "SIFT_create")  # noqa: B009 - missing in OpenCV's type stubs
    found, raw = create(nfeatures=MAX_POINTS).detectAndCompute(np.asarray(small), None)
    if raw is None or not found:
        return np.zeros((0, 2), np.float32), np.zeros((0, _DIMENSIONS), np.float32)
    points = np.array([point.pt for point in found[:MAX_POINTS]], np.float32)
    values = np.asarray(raw[:MAX_POINTS], np.float32)
    return points, np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-6))


def shared_points(pictures: Sequence[LocalFeatures]) -> dict[tuple[int, int], int]:
    """Count, for each pair of pictures, the points that one similarity maps onto each other.

    Parameters
    ----------
    pictures : sequence of LocalFeatures
        N pictures.

    Returns
    -------
    dict of (int, int) to int
        Positions (first < second) to the larger count of the plain and the mirrored comparison; pairs with fewer
        than six matches are left out.
    """
    stacked = np.zeros((len(pictures), MAX_POINTS, _DIMENSIONS), np.float32)
    for position, picture in enumerate(pictures):
        stacked[position, : len(picture.descriptors)] = picture.descriptors
    counts: dict[tuple[int, int], int] = {}
    for first, picture in enumerate(pictures):
        later = stacked[first + 1 :]
        for points, descriptors in (
            (picture.points, picture.descriptors),
            (picture.mirrored_points, picture.mirrored_descriptors),
        ):
            for second, pairs in _candidates(descriptors, later, first + 1):
                shared = _explained(points[pairs[0]], pictures[second].points[pairs[1]])
                counts[first, second] = max(shared, counts.get((first, second), 0))
    return counts


def _candidates(
    descriptors: NDArray[np.float32], later: NDArray[np.float32], offset: int
) -> list[tuple[int, tuple[NDArray[np.intp], NDArray[np.intp]]]]:
    if len(descriptors) < _MIN_MATCHES or not len(later):
        return []
    cosines = (descriptors @ later.reshape(-1, _DIMENSIONS).T).reshape(len(descriptors), len(later), MAX_POINTS)
    nearest = cosines.argmax(axis=2)
    good = np.take_along_axis(cosines, nearest[..., None], axis=2)[..., 0] > _MIN_COSINE
    found = []
    for second in np.flatnonzero(good.sum(axis=0) >= _MIN_MATCHES):
        mine = np.flatnonzero(good[:, second])
        found.append((int(second) + offset, (mine, nearest[mine, second])))
    return found


def _explained(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> int:
    import cv2

    cv2.setRNGSeed(0)  # RANSAC draws samples: the same pair must always count alike
    matrix, inliers = cv2.estimateAffinePartial2D(mine, theirs, ransacReprojThreshold=_REPROJECTION_PX)
    if matrix is None:
        return 0
    kept = inliers.ravel().astype(bool)
    # Repeated texture (stripes, text) maps many points onto one place: count places, on the poorer side.
    return min(len(np.unique(side[kept].round(), axis=0)) for side in (mine, theirs))
