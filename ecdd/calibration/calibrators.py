"""One interface for every calibration method: fit, cross-fit, accept only what helps pictures it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.isotonic import fit_isotonic
from ecdd.calibration.logit_checks import check_logits
from ecdd.calibration.metrics import Floats, expected_calibration_error, negative_log_likelihood, sigmoid
from ecdd.calibration.platt_scaling import fit_platt
from ecdd.calibration.temperature_scaling import HIGHEST, LOWEST, fit_temperature
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration

Method = Literal["temperature", "platt", "isotonic"]
Fit = Callable[[NDArray[np.floating], NDArray[np.integer]], AppliedCalibration]
# name in the contract -> fit on logits, shape (n,), and labels (1 fake, 0 real), the same on every processor
METHODS: Final[dict[Method, Fit]] = {
    "temperature": lambda x, y: AppliedCalibration(fit_temperature(x, y)).stated,
    "platt": lambda x, y: fit_platt(x, y).stated,
    "isotonic": lambda x, y: fit_isotonic(x, y).stated,
}


@dataclass(frozen=True)
class CalibratorFit:
    """A fitted calibration and what it does out of sample.

    Attributes
    ----------
    method : str
        A key of `METHODS`.
    applied : AppliedCalibration
        What to apply: no calibration when refused.
    fitted : AppliedCalibration
        The fit on the whole set, also when refused.
    accepted : bool
        False when out-of-fold NLL or ECE did not improve.
    overfit : float
        Out-of-fold NLL less the NLL on what was fitted, nat; large where the set is too small for the method.
    nll_before, nll_after, ece_before, ece_after : float
        Out of fold: every picture is scored by a calibration fitted without its near-duplicate group.
    out_of_fold : ndarray, float64, shape (n,)
        Calibrated logits, out of fold.
    warnings : tuple of str
        What the checks of the logits say.
    """

    method: Method
    applied: AppliedCalibration
    fitted: AppliedCalibration
    accepted: bool
    overfit: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    out_of_fold: Floats
    warnings: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why it was accepted or refused, with the numbers."""
        return (
            f"{self.method} {'accepted' if self.accepted else 'refused'}: out-of-fold NLL {self.nll_before:.4f} -> "
            f"{self.nll_after:.4f}, ECE {self.ece_before:.4f} -> {self.ece_after:.4f} with {shown(self.fitted)} on "
            f"{len(self.out_of_fold)} pictures"
        )


def fit_calibrator(
    method: Method,
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    small_logits: bool = False,
) -> CalibratorFit:
    """Fit a calibration and accept it only if it helps pictures it was not fitted on (E4.2, E4.3).

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    logits : ndarray, floating, shape (n,)
        Pooled logits of the shipped model; probabilities are refused.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    groups : ndarray, integer, shape (n,), or None
        Near-duplicates share a group and a fold.
    folds, seed : int, int
        Cross-fitting.
    small_logits : bool
        Whether logits that all lie between 0 and 1 are known to be no probabilities.

    Returns
    -------
    CalibratorFit
        With `UNCALIBRATED` applied when out-of-fold NLL or ECE does not improve.

    Raises
    ------
    CalibrationError
        If the method is unknown, the logits cannot be calibrated, a fit fails, or a fold misses a class.
    """
    if method not in METHODS:
        msg = f"calibration.method {method!r} is not known; choose one of {', '.join(METHODS)}"
        raise CalibrationError(msg)
    x, y, warnings = check_logits(logits, labels, small_logits=small_logits)
    fit = METHODS[method]
    try:
        fitted = fit(x, y)
    except CalibrationError as error:
        raise CalibrationError(f"calibration.method {method}: {error}; {_instead(method, x, y)}") from error
    fold = deal_folds(y, np.arange(len(y)) if groups is None else np.asarray(groups), folds, seed)
    held_out = np.empty_like(x)
    for k in range(folds):
        held = fold == k
        if len(np.unique(y[~held])) < 2:
            msg = f"fold {k} of {folds} leaves one class only to fit on; collect more calibration pictures"
            raise CalibrationError(msg)
        held_out[held] = apply(fit(x[~held], y[~held]), x[held])
    nll = negative_log_likelihood(x, y), negative_log_likelihood(held_out, y)
    ece = expected_calibration_error(sigmoid(x), y), expected_calibration_error(sigmoid(held_out), y)
    accepted = nll[1] < nll[0] and ece[1] < ece[0]
    overfit = nll[1] - negative_log_likelihood(apply(fitted, x), y)
    applied = fitted if accepted else UNCALIBRATED
    return CalibratorFit(method, applied, fitted, accepted, overfit, *nll, *ece, held_out, warnings)


def refuse_nonsense(fit: CalibratorFit, logits: NDArray[np.floating], labels: NDArray[np.integer]) -> None:
    """Refuse a calibration that ran into the end of its search, or whose probabilities are worse than a coin.

    Parameters
    ----------
    fit : CalibratorFit
        Accepted or not.
    logits, labels : ndarray
        What it was fitted on.

    Raises
    ------
    CalibrationError
        Naming the method, the number, and what Platt scaling, which has a bias, would do.
    """
    found, coin = negative_log_likelihood(apply(fit.fitted, logits), labels), float(np.log(2))
    ends = (LOWEST, HIGHEST)
    if fit.method == "temperature" and any(np.isclose(fit.fitted.temperature, end, rtol=1e-3) for end in ends):
        why = f"T = {fit.fitted.temperature:.4f} is the end of its search, {LOWEST:g} to {HIGHEST:g}"
    elif found > coin:
        why = f"its probabilities have NLL {found:.4f}, a coin has {coin:.4f}"
    else:
        return
    raise CalibrationError(f"calibration.method {fit.method}: {why}; {_instead(fit.method, logits, labels)}")


def _instead(method: Method, logits: NDArray[np.floating], labels: NDArray[np.integer]) -> str:
    """What would do where a method does not: Platt scaling, which has a bias, with its NLL."""
    if method == "platt":
        return "more or other calibration pictures are needed"
    try:
        platt = fit_platt(logits, labels)
    except CalibrationError as error:
        return f"Platt scaling does not help either: {error}"
    return f"calibration.method platt would give NLL {negative_log_likelihood(apply(platt, logits), labels):.4f}"


def apply(calibration: AppliedCalibration, logits: NDArray[np.floating]) -> Floats:
    """Calibrate many logits; the same numbers as `AppliedCalibration.logit`, one by one."""
    x = np.asarray(logits, np.float64)
    if not calibration.knots:
        return x / calibration.temperature + calibration.bias
    knots = np.array(calibration.knots)
    return cast(Floats, np.interp(x, knots[:, 0], knots[:, 1]))


def shown(calibration: AppliedCalibration) -> str:
    """Parameters in words."""
    if calibration.knots:
        return f"{len(calibration.knots)} knots"
    if calibration.bias:
        return f"a = {1 / calibration.temperature:.4f}, b = {calibration.bias:.4f}"
    return f"T = {calibration.temperature:.4f}"


def deal_folds(y: NDArray[np.int64], groups: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal groups to folds, class by class, so that each fold holds both classes."""
    rng = np.random.default_rng(seed)
    names, number = np.unique(groups, return_inverse=True)
    fold_of = np.full(len(names), -1, np.int64)
    for label in (0, 1):
        members = np.unique(number[y == label])
        open_ones = members[fold_of[members] < 0]
        fold_of[rng.permutation(open_ones)] = np.arange(len(open_ones)) % folds
    return fold_of[number]
