"""Piecewise-affine warp: one face's surface laid onto another's, triangle by triangle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ecdd.training.forgeries.forgery import ForgeryRefused, Mask, Picture

Array = NDArray[np.float64]
KERNELS: Final = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}
SUBPIXEL: Final = 4  # bits of a polygon corner's fraction


@dataclass(frozen=True, eq=False)
class Triangles:
    """A triangulation of the destination's points.

    Attributes
    ----------
    corners : ndarray of intp, (T, 3)
        Indices of points; counter-clockwise in the destination, sorted.
    hull : ndarray of intp, (B,)
        Indices of the points on the convex hull, in order.
    """

    corners: NDArray[np.intp]
    hull: NDArray[np.intp]


def triangulate(points: Array) -> Triangles:
    """Delaunay triangulation of the convex hull of some points.

    Parameters
    ----------
    points : ndarray of float64, (N, 2)
        Pixels.

    Raises
    ------
    ForgeryRefused
        All points lie on a line.
    """
    from scipy.spatial import Delaunay, QhullError

    try:
        found = Delaunay(points)
    except QhullError as error:
        raise ForgeryRefused("degenerate mesh", "the points of the face lie on a line") from error
    corners = found.simplices.astype(np.intp)
    # the same triangles in the same order and sense, whatever order the library finds them in
    negative = doubled_areas(points, corners) < 0
    corners[negative] = corners[negative][:, ::-1]
    first = corners.argmin(axis=1)
    corners = np.stack([np.take_along_axis(corners, ((first + k) % 3)[:, None], 1)[:, 0] for k in range(3)], axis=1)
    corners = corners[np.lexsort(corners.T[::-1])]
    hull = cv2.convexHull(points.astype(np.float32), returnPoints=False).ravel().astype(np.intp)
    return Triangles(corners, hull)


def doubled_areas(points: Array, corners: NDArray[np.intp]) -> Array:
    """Twice the signed area of each triangle, square pixels, (T,)."""
    a, b, c = (points[corners[:, k]] for k in range(3))
    areas: Array = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return areas


def folded_share(triangles: Triangles, source: Array, destination: Array) -> float:
    """Share of the destination's area whose triangle is turned over, or flat, in the source: 0 … 1.

    Such a triangle shows a part of the face that the source hides: its texture would be drawn mirrored.
    """
    areas = doubled_areas(destination, triangles.corners)
    turned = doubled_areas(source, triangles.corners) <= 0
    return float(areas[turned].sum() / areas.sum())


def polygon_mask(size: tuple[int, int], corners: Array) -> NDArray[np.uint8]:
    """Filled convex polygon, (H, W) of 0 and 255; ``size`` is width and height."""
    canvas = np.zeros((size[1], size[0]), np.uint8)
    # pixel k of OpenCV's drawing has its centre at k, of a picture at k + 1/2
    fixed = np.rint((corners - 0.5) * (1 << SUBPIXEL)).astype(np.int32)
    cv2.fillConvexPoly(canvas, fixed, 255, lineType=cv2.LINE_8, shift=SUBPIXEL)
    return canvas


def sampling_maps(
    triangles: Triangles, source: Array, destination: Array, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each destination pixel comes from.

    Parameters
    ----------
    triangles : Triangles
        Of the destination's points.
    source, destination : ndarray of float64, (N, 2)
        Corresponding points, pixels, edges of pixels at whole numbers.
    size : tuple of int
        Width and height of the destination.

    Returns
    -------
    tuple of ndarray of float32, (H, W)
        x and y in the source in OpenCV's convention (centres at whole numbers); -1 outside all triangles.
    """
    labels = np.full((size[1], size[0]), -1, np.int32)
    fixed = np.rint((destination - 0.5) * (1 << SUBPIXEL)).astype(np.int32)
    for index, corners in enumerate(triangles.corners):
        cv2.fillConvexPoly(labels, fixed[corners], float(index), lineType=cv2.LINE_8, shift=SUBPIXEL)
    rows, columns = np.nonzero(labels >= 0)
    affine = _affine_maps(triangles.corners, source, destination)[labels[rows, columns]]
    x, y = columns + 0.5, rows + 0.5
    maps = []
    for axis in range(2):
        values = np.full(labels.shape, -1.0, np.float32)
        values[rows, columns] = affine[:, axis, 0] * x + affine[:, axis, 1] * y + affine[:, axis, 2] - 0.5
        maps.append(values)
    return maps[0], maps[1]


def _affine_maps(corners: NDArray[np.intp], source: Array, destination: Array) -> Array:
    """Per triangle the map (2, 3) from destination to source, (T, 2, 3); a sliver takes its first corner's shift."""
    edges = destination[corners[:, 1:]] - destination[corners[:, :1]]  # (T, 2 edges, 2)
    images = source[corners[:, 1:]] - source[corners[:, :1]]
    sliver = np.abs(np.linalg.det(edges)) < 1e-6
    edges[sliver] = np.eye(2)
    images[sliver] = np.eye(2)
    linear = np.swapaxes(np.linalg.solve(edges, images), 1, 2)
    shift = source[corners[:, 0]] - np.einsum("tij,tj->ti", linear, destination[corners[:, 0]])
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def warped(
    picture: Picture, source: Array, destination: Array, size: tuple[int, int], kernel: str
) -> tuple[Picture, Mask, Triangles]:
    """Lay the surface of one face onto another.

    Parameters
    ----------
    picture : ndarray of uint8, (h, w, 3)
        With the source face.
    source, destination : ndarray of float64, (N, 2)
        Corresponding points in ``picture`` and in the result, pixels.
    size : tuple of int
        Width and height of the result.
    kernel : str
        ``linear``, ``cubic`` or ``lanczos``; a larger source is to be reduced before.

    Returns
    -------
    laid : ndarray of uint8, (H, W, 3)
        0 outside the triangles.
    hull : ndarray of float32, (H, W)
        1 where there is texture, 0 elsewhere.
    triangles : Triangles
        Of the destination.
    """
    triangles = triangulate(destination)
    x, y = sampling_maps(triangles, source, destination, size)
    laid = cv2.remap(picture, x, y, KERNELS[kernel], borderMode=cv2.BORDER_REPLICATE)
    hull = (polygon_mask(size, destination[triangles.hull]) > 0) & (x != -1)
    laid[~hull] = 0
    return np.asarray(laid, dtype=np.uint8), hull.astype(np.float32), triangles
