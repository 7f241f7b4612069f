"""How sharp a face is: variance of the Laplacian of the luma of its crop, at one size whatever the model reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Side, px, of the crop that is measured. The number falls where a face is enlarged and rises where it is reduced, so a
# limit holds for one side; models read others, and their S3 is measured only where it has this one.
SIDE = 256
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


def laplacian_variance(crop: NDArray[np.uint8]) -> float:
    """Variance of the 4-neighbour Laplacian of the luma, without padding.

    Computed in integers but for the last division, so it is the same number on every platform. Sharp faces lie
    above 100, a face enlarged from 64 pixels near 15. Noise raises it: a noisy blurred face passes. Measured at
    `SIDE`, because the value at native size does not transfer between sources.

    Parameters
    ----------
    crop : ndarray of uint8, shape (H, W, 3), H and W at least 3
        The face, resized to `SIDE`.

    Returns
    -------
    float
        Level squared, >= 0.
    """
    y = luma(crop)
    edges = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
    flat = edges.ravel().astype(np.int32)
    count, total = flat.size, int(flat.sum(dtype=np.int64))
    squares = int(np.square(flat).sum(dtype=np.int64))
    return (count * squares - total * total) / (count * count)
