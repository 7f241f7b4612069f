"""Temperature scaling: divide the pooled logit by one positive number (E4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.flat_point import flat_point
from ecdd.calibration.metrics import Floats, checked, sigmoid

LOWEST, HIGHEST = 0.01, 100.0
FLAT = 1e-7  # gradient of the mean loss over the logarithm of T, nat


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Find the temperature of least negative log-likelihood by bounded L-BFGS on its logarithm.

    Parameters
    ----------
    logits : ndarray, floating, shape (n,)
        Pooled logits of the shipped model; probabilities would be scaled twice.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.

    Returns
    -------
    float
        Temperature in [0.01, 100].

    Raises
    ------
    CalibrationError
        If the optimiser does not converge.
    """
    from scipy.optimize import minimize

    x, y = checked(logits, labels)

    def objective(log_t: Floats) -> tuple[float, Floats]:
        scaled = x / np.exp(log_t[0])
        loss = float(np.mean(np.logaddexp(0, scaled) - y * scaled))
        slope = float(np.mean((sigmoid(scaled) - y) * -scaled))
        return loss, np.array([slope])

    start = np.log(np.clip(np.abs(x).mean(), LOWEST, HIGHEST))
    result = minimize(
        objective,
        np.array([start]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(np.log(LOWEST), np.log(HIGHEST))],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
    )
    # close to the minimum the line search finds no lower value and gives up: the gradient says whether it is there
    if not result.success and abs(float(result.jac[0])) > FLAT:
        msg = f"temperature scaling did not converge on {len(x)} pictures: {result.message}"
        raise CalibrationError(msg)
    if abs(float(result.jac[0])) > FLAT:  # the end of the search, where the loss still falls
        return float(np.exp(result.x[0]))
    return float(np.exp(flat_point(lambda log_t: objective(log_t)[1], result.x)[0]))
