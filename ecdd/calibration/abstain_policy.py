"""The abstain band: what is decided, at what risk, and how abstentions count (E4.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.binomial_bounds import allowed_errors
from ecdd.calibration.metrics import Floats, Labels, checked

# Distance kept between a threshold and a score, and the grid that thresholds are rounded to: one closer to a score than
# two runtimes' difference would be decided by rounding.
STEP = 1e-6


@dataclass(frozen=True)
class BandRates:
    """What a pair of thresholds does; rates are over all pictures of a class that reached the model.

    Attributes
    ----------
    t_real, t_fake : float
        Thresholds.
    fpr, fnr : float
        Reals called fake, fakes called real.
    abstain_real, abstain_fake : float
        Share of each class inside the band.
    coverage, selective_risk : float
        Share of pictures that are decided, and share of those that are wrong (NaN where none is decided).
    selective_fpr, selective_fnr : float
        Errors among the decided pictures of each class (NaN where none is).
    """

    t_real: float
    t_fake: float
    fpr: float
    fnr: float
    abstain_real: float
    abstain_fake: float
    coverage: float
    selective_risk: float
    selective_fpr: float
    selective_fnr: float


def band_rates(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], t_real: float, t_fake: float
) -> BandRates:
    """Measure a band.

    Parameters
    ----------
    probabilities : ndarray, floating, shape (n,)
        Calibrated P(fake).
    labels : ndarray, integer, shape (n,)
        1 fake, 0 real.
    t_real, t_fake : float
        At or below: real; at or above: fake.

    Returns
    -------
    BandRates
        Over all pictures and over the decided ones.
    """
    p, y = checked(probabilities, labels)
    called_fake, called_real = p >= t_fake, p <= t_real
    decided = called_fake | called_real
    wrong = np.where(y == 1, called_real, called_fake)
    of = {label: y == label for label in (0, 1)}

    def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
        return float(hits[among].mean()) if among.any() else float("nan")

    return BandRates(
        t_real=t_real,
        t_fake=t_fake,
        fpr=share(wrong, of[0]),
        fnr=share(wrong, of[1]),
        abstain_real=share(~decided, of[0]),
        abstain_fake=share(~decided, of[1]),
        coverage=float(decided.mean()),
        selective_risk=share(wrong, decided),
        selective_fpr=share(wrong, decided & of[0]),
        selective_fnr=share(wrong, decided & of[1]),
    )


def risk_coverage(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Selective risk at every coverage, the pictures that the detector is surest of first.

    Parameters
    ----------
    probabilities, labels
        As in `band_rates`.

    Returns
    -------
    coverage, risk : ndarray, float64, shape (n,)
        Share decided (1/n … 1), and share of wrong labels among those (fake from 0.5 on).
    """
    p, y = checked(probabilities, labels)
    order = np.argsort(-np.abs(p - 0.5), kind="stable")
    wrong = ((p >= 0.5).astype(np.int64) != y)[order]
    count = np.arange(1, len(p) + 1)
    return count / len(p), np.cumsum(wrong) / count


def choose_t_real(
    probabilities: Floats, labels: Labels, highest: float, t_fake: float, max_abstain_rate: float, confidence: float
) -> float:
    """Choose the lower end of the band: least selective risk among those that are shown to keep the abstain limit.

    Shown means by the exact upper bound, as the limits on errors are: a band that fills the limit on the calibration
    pictures breaks it on every second set of others.

    Parameters
    ----------
    probabilities, labels : ndarray, shape (n,)
        Calibrated P(fake); 1 fake, 0 real.
    highest : float
        Largest t_real that keeps the FNR bound.
    t_fake : float
        Upper end.
    max_abstain_rate : float
        Of each class.
    confidence : float
        Of the bound.

    Returns
    -------
    float
        ``highest`` where the abstain limit cannot be shown: every lower one abstains more. Of equal risks the higher
        threshold, which decides more.
    """
    above = (np.floor(np.unique(probabilities) / STEP) + 2) * STEP  # just above each score
    candidates = np.concatenate([[highest], above[above < highest][::-1]])
    by_class = [np.sort(probabilities[labels == label]) for label in (0, 1)]
    low = [np.searchsorted(scores, candidates, side="right") for scores in by_class]
    high = [len(scores) - int(np.searchsorted(scores, t_fake, side="left")) for scores in by_class]
    decided = low[0] + low[1] + high[0] + high[1]
    risk = np.divide(low[1] + high[0], decided, out=np.ones(len(candidates)), where=decided > 0)
    kept = [
        n - low[k] - high[k] <= allowed_errors(n, max_abstain_rate, confidence)
        for k, n in enumerate(map(len, by_class))
    ]
    allowed = kept[0] & kept[1]
    if not allowed.any():
        return highest
    return float(candidates[int(np.argmin(np.where(allowed, risk, np.inf)))])


@dataclass(frozen=True)
class DecisionCounts:
    """Outcomes of labelled pictures; an abstention is an outcome of its own, never a correct one.

    Attributes
    ----------
    correct, wrong, abstained : int
        Decided rightly, decided wrongly, not decided.
    by_reason : dict of str to int
        Abstentions by reason code.
    """

    correct: int
    wrong: int
    abstained: int
    by_reason: dict[str, int]

    @property
    def accuracy(self) -> float:
        """Share of *all* pictures that were decided rightly: abstaining never raises it."""
        return self.correct / (self.correct + self.wrong + self.abstained)


def count_decisions(outcomes: Sequence[tuple[int, str, tuple[str, ...]]]) -> DecisionCounts:
    """Count labels against truth.

    Parameters
    ----------
    outcomes : sequence of (int, str, tuple of str)
        Truth (1 fake, 0 real), verdict's label (``real``, ``fake``, ``abstain``), reason codes.

    Returns
    -------
    DecisionCounts
        A picture with several codes counts under their join.
    """
    right = {0: "real", 1: "fake"}
    abstained = [codes for _, label, codes in outcomes if label == "abstain"]
    correct = sum(label == right[truth] for truth, label, _ in outcomes)
    reasons = Counter("+".join(codes) or "none" for codes in abstained)
    return DecisionCounts(
        correct, len(outcomes) - correct - len(abstained), len(abstained), dict(sorted(reasons.items()))
    )
