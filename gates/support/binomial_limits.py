"""Finite-sample bounds for the rates that the gates report."""

from __future__ import annotations


def upper_bound(events: int, trials: int, confidence: float) -> float:
    """One-sided Clopper-Pearson upper bound of a rate.

    Parameters
    ----------
    events, trials : int
        Counts.
    confidence : float
        Of the bound.

    Returns
    -------
    float
        In [0, 1]; 1 without trials.
    """
    from scipy.stats import beta

    if trials == 0 or events >= trials:
        return 1.0
    return float(beta.ppf(confidence, events + 1, trials - events))
