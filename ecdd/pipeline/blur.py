"""How sharp a face is: variance of the Laplacian of the luma of S3."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# ITU-R BT.601 in 16-bit fixed point, the formula of Pillow's own "L": one integer result everywhere.
LUMA_WEIGHTS = (19595, 38470, 7471)


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Integer luma ``(19595 R + 38470 G + 7471 B + 32768) >> 16``.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        Levels.

    Returns
    -------
    ndarray of int16, shape (H, W)
        0 … 255.
    """
    red, green, blue = (rgb[..., k].astype(np.int32) * LUMA_WEIGHTS[k] for k in range(3))
    return ((red + green + blue + 32768) >> 16).astype(np.int16)


def laplacian_variance(s3: NDArray[np.uint8]) -> float:
    """Variance of the 4-neighbour Laplacian of the luma, without padding.

    Computed in integers but for the last division, so it is the same number on every platform. Sharp faces lie
    above 100, a face enlarged from 64 pixels near 15. Noise raises it: a noisy blurred face passes. Measured at
    the size that the model reads, because the value at native size does not transfer between sources.

    Parameters
    ----------
    s3 : ndarray of uint8, shape (H, W, 3), H and W at least 3
        The resized face.

    Returns
    -------
    float
        Level squared, >= 0.
    """
    y = luma(s3)
    edges = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
    flat = edges.ravel().astype(np.int32)
    count, total = flat.size, int(flat.sum(dtype=np.int64))
    squares = int(np.square(flat).sum(dtype=np.int64))
    return (count * squares - total * total) / (count * count)
