"""Which calibration method a set of logits asks for, where nobody has decided it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ecdd.calibration.bootstrap import resampled_weights
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibrators import CalibratorFit, Method, fit_calibrator, refuse_nonsense

if TYPE_CHECKING:
    from ecdd.calibration.calibration_set_contract import JudgedSet
    from ecdd.calibration.metrics import Floats

RESAMPLES: Final = 1000


def chosen_method(data: JudgedSet, confidence: float) -> Method:
    """Temperature, unless Platt scaling is shown to be better out of fold (E4.3), or temperature alone is nonsense.

    Parameters
    ----------
    data : JudgedSet
        Logits, labels and near-duplicate groups.
    confidence : float
        Of the bound on the difference of the losses: ``operating_point.confidence``.

    Returns
    -------
    Method
        What ``calibration.method`` should be.
    """
    temperature, platt = _usable("temperature", data), _usable("platt", data)
    if temperature is None:
        return "platt"
    if platt is None:
        return "temperature"
    difference = _losses(temperature, data) - _losses(platt, data)
    drawn = [float(w @ difference / w.sum()) for w in resampled_weights(data.labels, data.groups, RESAMPLES, seed=41)]
    return "platt" if float(np.quantile(drawn, 1 - confidence)) > 0 else "temperature"


def _usable(method: Method, data: JudgedSet) -> CalibratorFit | None:
    try:
        fit = fit_calibrator(method, data.logits, data.labels, data.groups, small_logits=True)
        refuse_nonsense(fit, data.logits, data.labels)
    except CalibrationError:  # said again, with its reason, where the contract's method is fitted
        return None
    return fit


def _losses(fit: CalibratorFit, data: JudgedSet) -> Floats:
    z = fit.out_of_fold
    return np.asarray(np.logaddexp(0, z) - data.labels * z)
