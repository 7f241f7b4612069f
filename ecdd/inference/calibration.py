"""Applying calibration (S7): from a pooled logit to P(fake)."""

from __future__ import annotations

import math


def calibrated_logit(logit: float, temperature: float, bias: float) -> float:
    """Apply temperature or Platt scaling: ``logit / temperature + bias``.

    Parameters
    ----------
    logit : float
        S6.
    temperature : float
        Above 0.
    bias : float
        0 for temperature scaling.

    Returns
    -------
    float
        Calibrated logit.
    """
    return logit / temperature + bias


def probability(logit: float) -> float:
    """Sigmoid of a calibrated logit, without overflow.

    Parameters
    ----------
    logit : float
        Calibrated logit.

    Returns
    -------
    float
        P(fake) in [0, 1].
    """
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1.0 + odds)
