"""Thresholds that meet the contract's error budget with a finite-sample bound (E4.4, E4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.abstain_policy import STEP, choose_t_real
from ecdd.calibration.binomial_bounds import (
    allowed_errors,
    clopper_pearson_upper,
    learn_then_test,
    least_auc,
    pictures_needed,
)
from ecdd.calibration.metrics import Floats, checked
from ecdd.contract.model_sections import OperatingPoint


@dataclass(frozen=True)
class Thresholds:
    """Chosen thresholds, and every constraint with what was achieved on the calibration set.

    Attributes
    ----------
    t_real, t_fake : float
        P(fake) at or below ``t_real`` is real, at or above ``t_fake`` is fake, between is abstain.
    n_real, n_fake : int
        Pictures that reached the model.
    false_positives, false_negatives : int
        Reals called fake, fakes called real, on the calibration set.
    fpr_upper, fnr_upper : float
        One-sided Clopper-Pearson upper bounds at the contract's confidence.
    abstain_real, abstain_fake : float
        Share of each class inside the band.
    met : dict of str to bool
        ``max_fpr``, ``max_fnr``, ``max_abstain_rate``.
    notes : tuple of str
        What could not be met and why.
    """

    t_real: float
    t_fake: float
    n_real: int
    n_fake: int
    false_positives: int
    false_negatives: int
    fpr_upper: float
    fnr_upper: float
    abstain_real: float
    abstain_fake: float
    met: dict[str, bool]
    notes: tuple[str, ...]


def choose_thresholds(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], policy: OperatingPoint
) -> Thresholds:
    """Choose t_fake from the reals and t_real from the fakes, in the order of the contract's priorities.

    The primary constraint (FPR) always decides ``t_fake``; the secondary (FNR) bounds ``t_real`` below it. Where the
    upper bound of the abstain rates leaves room, ``t_real`` goes down to the least selective risk; where the rates
    themselves cannot hold, that is noted with the least AUC that would suffice, and the bounds on errors are kept.

    Parameters
    ----------
    probabilities : ndarray, floating, shape (n,)
        Calibrated P(fake) of pictures that reached the model.
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    policy : OperatingPoint
        Limits and confidence.

    Returns
    -------
    Thresholds
        With every constraint's bound.

    Raises
    ------
    MetricError
        If scores are not finite or a class is missing.
    """
    p, y = checked(probabilities, labels)
    real, fake = np.sort(p[y == 0]), np.sort(p[y == 1])
    notes: list[str] = []
    t_fake = _t_fake(real, policy, notes)
    highest = _t_real(fake, t_fake, policy, notes)
    chosen = choose_t_real(p, y, highest, t_fake, policy.max_abstain_rate, policy.confidence)
    t_real = round(chosen, 6)
    false_positives, false_negatives = int((real >= t_fake).sum()), int((fake <= t_real).sum())
    fpr = clopper_pearson_upper(false_positives, len(real), policy.confidence)
    fnr = clopper_pearson_upper(false_negatives, len(fake), policy.confidence)
    abstain = tuple(float(((c > t_real) & (c < t_fake)).mean()) for c in (real, fake))
    if max(abstain) > policy.max_abstain_rate:
        notes.append(
            f"operating_point.max_abstain_rate {policy.max_abstain_rate:g} is not met: {abstain[0]:.3f} of the reals "
            f"and {abstain[1]:.3f} of the fakes abstain; the bounds on FPR and FNR were kept instead; with pictures "
            f"without end an AUC of {least_auc(policy.max_fpr, policy.max_fnr, policy.max_abstain_rate):.3f} would do"
        )
    met = {
        "max_fpr": fpr <= policy.max_fpr,
        "max_fnr": fnr <= policy.max_fnr,
        "max_abstain_rate": max(abstain) <= policy.max_abstain_rate,
    }
    return Thresholds(
        t_real=t_real,
        t_fake=t_fake,
        n_real=len(real),
        n_fake=len(fake),
        false_positives=false_positives,
        false_negatives=false_negatives,
        fpr_upper=fpr,
        fnr_upper=fnr,
        abstain_real=abstain[0],
        abstain_fake=abstain[1],
        met=met,
        notes=tuple(notes),
    )


def ltt_threshold(real: Floats, policy: OperatingPoint) -> float | None:
    """Learn-then-Test over the grid of all scores: the second way to the same promise as `choose_thresholds`.

    Returns
    -------
    float or None
        Lowest t_fake whose FPR is shown; None where even a threshold above every score is not.
    """
    grid = np.concatenate([(np.floor(np.unique(real) / STEP) + 2) * STEP, [1.0]])
    return learn_then_test(real, grid, policy.max_fpr, policy.confidence)


def shortfall(errors: int, n: int, limit: float, confidence: float) -> int | None:
    """How many more pictures of a class would show the limit if the estimate is the truth; 0 when it is shown.

    Returns
    -------
    int or None
        None where the estimate itself is not below the limit.
    """
    if clopper_pearson_upper(errors, n, confidence) <= limit:
        return 0
    needed = pictures_needed(errors / n, limit, confidence)
    return None if needed is None else max(needed - n, 1)


def _t_fake(real: Floats, policy: OperatingPoint, notes: list[str]) -> float:
    allowed = allowed_errors(len(real), policy.max_fpr, policy.confidence)
    if allowed < 0:
        needed = pictures_needed(0.0, policy.max_fpr, policy.confidence)
        notes.append(
            f"operating_point.max_fpr {policy.max_fpr:g} cannot be shown at confidence {policy.confidence:g} with "
            f"{len(real)} reals, whatever the threshold ({needed} without an error would "
            "show it); t_fake lies above every one of them"
        )
        allowed = 0
    highest_excluded = float(real[len(real) - 1 - allowed])
    t_fake = (np.floor(highest_excluded / STEP) + 2) * STEP
    if t_fake >= 1:
        notes.append(
            f"a real scores {highest_excluded:.8f}; no threshold below 1 excludes it, so nothing is called fake"
        )
        t_fake = 1 - STEP
    return round(float(t_fake), 6)


def _t_real(fake: Floats, t_fake: float, policy: OperatingPoint, notes: list[str]) -> float:
    allowed = allowed_errors(len(fake), policy.max_fnr, policy.confidence)
    if allowed < 0:
        needed = pictures_needed(0.0, policy.max_fnr, policy.confidence)
        notes.append(
            f"operating_point.max_fnr {policy.max_fnr:g} cannot be shown at confidence {policy.confidence:g} with "
            f"{len(fake)} fakes, whatever the threshold ({needed} without an error would "
            "show it); t_real lies below every one of them"
        )
        allowed = 0
    lowest_excluded = float(fake[allowed])
    t_real = (np.ceil(lowest_excluded / STEP) - 2) * STEP
    if t_real <= 0:
        notes.append(
            f"a fake scores {lowest_excluded:.8f}; no threshold above 0 excludes it, so nothing is called real"
        )
        t_real = STEP
    if t_real >= t_fake:
        t_real = t_fake - STEP  # the classes separate better than the budget asks: no band is needed
    return round(float(t_real), 6)
