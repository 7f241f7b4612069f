"""Refuse logits that no calibration can make sense of, before anything is fitted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.metrics import Floats, Labels, MetricError, auc, checked

# fewer numbers between 0 and 1 may be logits of a careful model by chance
LEAST_FOR_PROBABILITIES = 20


def check_logits(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, small_logits: bool = False
) -> tuple[Floats, Labels, tuple[str, ...]]:
    """Check pooled logits and labels of a calibration set.

    Parameters
    ----------
    logits : ndarray, floating, shape (n,)
        Pooled logits.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    small_logits : bool
        Whether logits that all lie between 0 and 1 are known to be no probabilities.

    Returns
    -------
    logits, labels : ndarray
        Float64 and int64.
    warnings : tuple of str
        What is odd but allowed: an AUC below 0.5 that may be chance.

    Raises
    ------
    CalibrationError
        One class only, a logit that is not finite, all logits alike, probabilities in place of logits, or an AUC shown
        to be below 0.5 (labels or score are swapped).
    """
    try:
        x, y = checked(logits, labels)
    except MetricError as error:
        msg = f"calibration logits: {error}"
        raise CalibrationError(msg) from error
    if x.min() == x.max():
        msg = f"all {len(x)} logits are {x[0]:.6g}: the model says the same of every picture; check the model file"
        raise CalibrationError(msg)
    if not small_logits and len(x) >= LEAST_FOR_PROBABILITIES and x.min() >= 0 and x.max() <= 1:
        msg = (
            f"all {len(x)} values lie in [{x.min():.4g}, {x.max():.4g}]: these look like probabilities; calibration "
            "needs logits, a sigmoid would be applied twice; --small-logits where they are logits all the same"
        )
        raise CalibrationError(msg)
    area = auc(x, y)
    if area >= 0.5:
        return x, y, ()
    above = area + 1.645 * _auc_error(area, int((y == 1).sum()), int((y == 0).sum()))
    text = f"AUC {area:.3f} is below 0.5: labels or score may be swapped (1 is fake; larger logits mean fake)"
    if above < 0.5:
        msg = (
            f"{text}; its upper 95 % bound is {above:.3f}, so it is no chance: correct labels or export; where the "
            "output speaks for the other class than the contract says, turn --fake-index of onboard or contract init"
        )
        raise CalibrationError(msg)
    return x, y, (f"{text}; its upper 95 % bound is {above:.3f}, so it may be chance",)


def _auc_error(area: float, n_fake: int, n_real: int) -> float:
    """Standard error of an AUC (Hanley and McNeil, 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_fake - 1) * (q1 - area**2) + (n_real - 1) * (q2 - area**2)
    return math.sqrt(max(variance, 0.0) / (n_fake * n_real))
