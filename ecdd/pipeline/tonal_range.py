"""How many tonal values a face has, and whether they are scattered: two-colour, dithered, posterised pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Neighbouring pixels farther apart than this are a large step, in levels of luma. Photographs have few even after
# strong contrast; dithering writes every shade with them, and JPEG does not take them away.
LARGE_STEP = 64


def effective_levels(luma: NDArray[np.uint8]) -> float:
    """Effective number of levels of luma: the exponential of the histogram's entropy (perplexity, or Hill number).

    As many equally frequent levels have the same entropy: 2 for black and white in equal parts, 256 at most. A level
    that hardly occurs hardly counts, so that noise and JPEG do not turn eight shades into two hundred.

    Parameters
    ----------
    luma : ndarray of uint8, shape (H, W)
        The face at native resolution.

    Returns
    -------
    float
        1 … 256.
    """
    counts = np.bincount(luma.ravel(), minlength=256)
    shares = counts[counts > 0] / luma.size
    return float(np.exp(-(shares * np.log(shares)).sum()))


def large_steps(luma: NDArray[np.uint8]) -> float:
    """Share of horizontal and vertical neighbours that differ by more than ``LARGE_STEP`` levels.

    Parameters
    ----------
    luma : ndarray of uint8, shape (H, W)
        The face at native resolution.

    Returns
    -------
    float
        0 … 1; 0 for a single pixel.
    """
    levels = luma.astype(np.int16)
    steps = [np.abs(np.diff(levels, axis=axis)) > LARGE_STEP for axis in (0, 1)]
    pairs = sum(step.size for step in steps)
    return sum(int(step.sum()) for step in steps) / pairs if pairs else 0.0
