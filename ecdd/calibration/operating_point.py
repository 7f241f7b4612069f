"""Thresholds that meet the contract's error budget with a finite-sample bound (E4.4, E4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import Floats, MetricError, checked
from ecdd.contract.model_sections import OperatingPoint

# Distance kept between a threshold and the score it must exclude, and the grid thresholds are rounded to:
# a threshold closer to a score than two runtimes' difference would be decided by rounding.
STEP = 1e-6


class OperatingPointError(Exception):
    """No threshold exists, for example because a class is missing."""


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


def clopper_pearson_upper(errors: int, n: int, confidence: float) -> float:
    """One-sided exact upper bound of a binomial rate.

    Parameters
    ----------
    errors, n : int
        Observed errors of n trials, n >= 1.
    confidence : float
        Probability that the bound holds, e.g. 0.95.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    MetricError
        If n < 1 or errors is outside 0 … n.
    """
    from scipy.stats import beta

    if n < 1 or not 0 <= errors <= n:
        msg = f"{errors} errors of {n} trials: nothing can be bounded"
        raise MetricError(msg)
    return 1.0 if errors == n else float(beta.ppf(confidence, errors + 1, n - errors))


def allowed_errors(n: int, limit: float, confidence: float) -> int:
    """Largest number of errors of n whose upper bound stays within the limit; -1 when not even zero does.

    It depends on n alone, so a threshold set by it from the sorted scores keeps the bound's guarantee.
    """
    errors = -1
    while errors + 1 < n and clopper_pearson_upper(errors + 1, n, confidence) <= limit:
        errors += 1
    return errors


def choose_thresholds(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], policy: OperatingPoint
) -> Thresholds:
    """Choose t_fake from the reals and t_real from the fakes, in the order of the contract's priorities.

    The primary constraint (FPR) always decides ``t_fake``; the secondary (FNR) decides ``t_real`` below it. The
    abstain rate is what remains, and is reported as not met where it exceeds its limit.

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
    t_real = _t_real(fake, t_fake, policy, notes)
    false_positives, false_negatives = int((real >= t_fake).sum()), int((fake <= t_real).sum())
    fpr = clopper_pearson_upper(false_positives, len(real), policy.confidence)
    fnr = clopper_pearson_upper(false_negatives, len(fake), policy.confidence)
    abstain = tuple(float(((c > t_real) & (c < t_fake)).mean()) for c in (real, fake))
    if max(abstain) > policy.max_abstain_rate:
        notes.append(
            f"operating_point.max_abstain_rate {policy.max_abstain_rate:g} is not met: {abstain[0]:.3f} of the reals "
            f"and {abstain[1]:.3f} of the fakes abstain; the bounds on FPR and FNR were kept instead"
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


def _t_fake(real: Floats, policy: OperatingPoint, notes: list[str]) -> float:
    allowed = allowed_errors(len(real), policy.max_fpr, policy.confidence)
    if allowed < 0:
        notes.append(
            f"operating_point.max_fpr {policy.max_fpr:g} cannot be shown at confidence {policy.confidence:g} with "
            f"{len(real)} reals, whatever the threshold; t_fake lies above every one of them"
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
        notes.append(
            f"operating_point.max_fnr {policy.max_fnr:g} cannot be shown at confidence {policy.confidence:g} with "
            f"{len(fake)} fakes, whatever the threshold; t_real lies below every one of them"
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
