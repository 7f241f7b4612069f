"""Where a smooth loss is flat, to the last digits: the same parameters on every processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from ecdd.calibration.metrics import Floats


def flat_point(gradient: Callable[[Floats], Floats], near: Floats) -> Floats:
    """Find the zero of a gradient beside a minimum found by the loss.

    An optimiser stops where the loss no longer falls, and a loss is flat over the root of its precision: where within
    that it stops (here about 1e-8) depends on how a processor adds. The gradient's zero does not.

    Parameters
    ----------
    gradient : callable
        Parameters to gradient of a convex loss, float64, shape (n,) both.
    near : ndarray, float64, shape (n,)
        Where the optimiser stopped.

    Returns
    -------
    ndarray, float64, shape (n,)
        `near` itself where the gradient is as small already as it gets.
    """
    from scipy.optimize import root

    found = cast(Floats, root(gradient, near, tol=1e-15).x)
    return found if np.abs(gradient(found)).max() < np.abs(gradient(near)).max() else near
