"""Applying calibration (S7): from a pooled logit to P(fake)."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ecdd.bundle.calibration_record import CalibrationRecord

STATED_DIGITS: Final = 9


@dataclass(frozen=True)
class AppliedCalibration:
    """A fitted calibration, ready to apply: ``logit / temperature + bias``, or a monotone curve through knots.

    Attributes
    ----------
    temperature : float
        Above 0. Platt scaling with slope a has 1 / a.
    bias : float
        0 for temperature scaling.
    knots : tuple of (float, float)
        Pooled logit, rising, and calibrated logit, not falling (isotonic); between them a straight line, beyond them
        the end's value. Empty for the other methods.
    """

    temperature: float = 1.0
    bias: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, record: CalibrationRecord) -> AppliedCalibration:
        """Take the parameters from a bundle's ``calibration.json``."""
        return cls(record.temperature, record.bias, record.knots)

    @property
    def stated(self) -> AppliedCalibration:
        """The same, to the digits that a fit is stated with.

        The last digits depend on how a processor adds and takes exponentials: a fit stated to all of them would be
        another one on another machine.
        """
        return replace(
            self,
            temperature=float(f"{self.temperature:.{STATED_DIGITS}g}"),
            bias=round(self.bias, STATED_DIGITS),
            knots=tuple((_to_digits(x), _to_digits(y)) for x, y in self.knots),
        )

    def logit(self, pooled: float) -> float:
        """Calibrate a pooled logit (S6); never falls where the pooled logit rises."""
        if not self.knots:
            return pooled / self.temperature + self.bias
        place = bisect_right(self.knots, (pooled, math.inf))
        if place == 0:
            return self.knots[0][1]
        if place == len(self.knots):
            return self.knots[-1][1]
        (x0, y0), (x1, y1) = self.knots[place - 1], self.knots[place]
        return y0 + (y1 - y0) * ((pooled - x0) / (x1 - x0))


UNCALIBRATED = AppliedCalibration()


def _to_digits(value: float) -> float:
    return float(f"{value:.{STATED_DIGITS}g}")


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
