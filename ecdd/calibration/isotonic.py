"""Isotonic calibration: any rising curve. It fits small sets by heart, so it is offered for large ones only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.metrics import checked
from ecdd.inference.calibration import AppliedCalibration

LEAST_PICTURES = 1000


def fit_isotonic(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> AppliedCalibration:
    """Fit a rising step curve by pooling adjacent violators, and join its steps by lines.

    Parameters
    ----------
    logits : ndarray, floating, shape (n,)
        Pooled logits, n >= 1000.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.

    Returns
    -------
    AppliedCalibration
        One knot a step, at its mean logit. A step of m pictures with f fakes counts as (f + 1/2) / (m + 1), so that no
        probability is 0 or 1.

    Raises
    ------
    CalibrationError
        With fewer pictures.
    """
    from scipy.optimize import isotonic_regression

    x, y = checked(logits, labels)
    if len(x) < LEAST_PICTURES:
        msg = (
            f"isotonic calibration needs {LEAST_PICTURES} pictures, got {len(x)}: it would fit them by heart; "
            "collect more, or use temperature or platt"
        )
        raise CalibrationError(msg)
    values, index = np.unique(x, return_inverse=True)
    count, fakes = np.bincount(index).astype(float), np.bincount(index, weights=y)
    steps = isotonic_regression(fakes / count, weights=count)
    starts = np.asarray(steps.blocks[:-1], int)
    pictures, forged = np.add.reduceat(count, starts), np.add.reduceat(fakes, starts)
    centres = np.add.reduceat(values * count, starts) / pictures
    share = (forged + 0.5) / (pictures + 1)
    heights = np.maximum.accumulate(np.log(share / (1 - share)))
    return AppliedCalibration(knots=tuple(zip(centres.tolist(), heights.tolist(), strict=True)))
