"""Platt scaling: slope and bias of the pooled logit (E4.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.flat_point import flat_point
from ecdd.calibration.metrics import Floats, checked, sigmoid
from ecdd.inference.calibration import AppliedCalibration

STEEPEST = 100.0  # largest slope
FLAT = 1e-7  # gradient of a mean loss in nat, for a logit of unit spread


def fit_platt(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> AppliedCalibration:
    """Fit ``a * logit + b`` by L-BFGS on the negative log-likelihood.

    The targets are Platt's, (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), which keep a set that separates perfectly from
    giving an infinite slope (Platt, 1999; Lin, Lin and Weng, 2007).

    Parameters
    ----------
    logits : ndarray, floating, shape (n,)
        Pooled logits.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.

    Returns
    -------
    AppliedCalibration
        ``temperature`` 1 / a and ``bias`` b.

    Raises
    ------
    CalibrationError
        If it does not converge, or the slope is not positive: larger logits would mean real.
    """
    from scipy.optimize import minimize

    x, y = checked(logits, labels)
    fakes, reals = float((y == 1).sum()), float((y == 0).sum())
    target = np.where(y == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    spread = float(x.std())
    scaled, middle = (x - x.mean()) / spread, float(x.mean())

    def objective(parameters: Floats) -> tuple[float, Floats]:
        z = parameters[0] * scaled + parameters[1]
        error = sigmoid(z) - target
        loss = float(np.mean(np.logaddexp(0, z) - target * z))
        return loss, np.array([float(np.mean(error * scaled)), float(np.mean(error))])

    start = np.array([1.0, np.log((fakes + 1) / (reals + 1))])
    result = minimize(objective, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    # close to the minimum the line search finds no lower value and gives up: the gradient says whether it is there
    if not result.success and np.abs(result.jac).max() > FLAT:
        msg = f"Platt scaling did not converge on {len(x)} pictures: {result.message}"
        raise CalibrationError(msg)
    scale, shift = flat_point(lambda parameters: objective(parameters)[1], result.x)
    slope = float(scale) / spread
    if not 1 / 1000 <= slope <= STEEPEST:
        msg = f"Platt scaling gives slope {slope:.4g}, allowed 0.001 to {STEEPEST:g}: the logits do not rise "
        msg += "with the labels; check the labels, and which class is fake"
        raise CalibrationError(msg)
    return AppliedCalibration(1 / slope, float(shift) - slope * middle)
