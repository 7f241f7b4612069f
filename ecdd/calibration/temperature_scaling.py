"""Temperature scaling: divide the pooled logit by one positive number, or refuse to (E4.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import (
    Floats,
    checked,
    expected_calibration_error,
    negative_log_likelihood,
    sigmoid,
)

LOWEST, HIGHEST = 0.01, 100.0


class CalibrationError(Exception):
    """A calibration cannot be fitted."""


@dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature and what it does out of sample.

    Attributes
    ----------
    temperature : float
        What to divide the logit by; 1 when refused.
    fitted : float
        Minimiser of the likelihood on the whole set, also when refused.
    accepted : bool
        False when out-of-fold NLL or ECE did not improve.
    reason : str
        Why it was accepted or refused, with the numbers.
    nll_before, nll_after, ece_before, ece_after : float
        Out of fold: every picture is scored with a temperature fitted without its group.
    """

    temperature: float
    fitted: float
    accepted: bool
    reason: str
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def minimise_nll(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
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
    if not result.success:
        msg = f"temperature scaling did not converge on {len(x)} pictures: {result.message}"
        raise CalibrationError(msg)
    return float(np.exp(result.x[0]))


def fit_temperature(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> TemperatureFit:
    """Fit a temperature and accept it only if it helps pictures it was not fitted on.

    Parameters
    ----------
    logits : ndarray, floating, shape (n,)
        Pooled logits of the shipped model.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    groups : ndarray, integer, shape (n,), or None
        Near-duplicates share a group and a fold.
    folds, seed : int, int
        Cross-fitting.

    Returns
    -------
    TemperatureFit
        Temperature 1 when out-of-fold NLL or ECE does not improve.

    Raises
    ------
    CalibrationError
        If a fit does not converge or a fold misses a class.
    """
    x, y = checked(logits, labels)
    fitted = minimise_nll(x, y)
    fold = _folds(y, np.arange(len(y)) if groups is None else np.asarray(groups), folds, seed)
    scaled = np.empty_like(x)
    for k in range(folds):
        held = fold == k
        if len(np.unique(y[~held])) < 2:
            msg = f"fold {k} of {folds} leaves one class only to fit on; collect more calibration pictures"
            raise CalibrationError(msg)
        scaled[held] = x[held] / minimise_nll(x[~held], y[~held])
    nll = negative_log_likelihood(x, y), negative_log_likelihood(scaled, y)
    ece = expected_calibration_error(sigmoid(x), y), expected_calibration_error(sigmoid(scaled), y)
    accepted = nll[1] < nll[0] and ece[1] < ece[0]
    reason = (
        f"{'accepted' if accepted else 'refused'}: out-of-fold NLL {nll[0]:.4f} -> {nll[1]:.4f}, "
        f"ECE {ece[0]:.4f} -> {ece[1]:.4f} with T = {fitted:.4f} on {len(x)} pictures"
    )
    return TemperatureFit(fitted if accepted else 1.0, fitted, accepted, reason, nll[0], nll[1], ece[0], ece[1])


def _folds(y: NDArray[np.int64], groups: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal groups to folds, class by class, so that each fold holds both classes."""
    rng = np.random.default_rng(seed)
    fold_of: dict[int, int] = {}
    for label in (0, 1):
        keys = [int(k) for k in np.unique(groups[y == label]) if int(k) not in fold_of]
        for position, k in enumerate(rng.permutation(keys)):
            fold_of[int(k)] = position % folds
    return np.array([fold_of[int(g)] for g in groups], np.int64)
