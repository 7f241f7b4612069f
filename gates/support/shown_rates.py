"""Rates and intervals in the tables of gate G6."""

from __future__ import annotations

from ecdd.calibration.binomial_bounds import Rate
from ecdd.calibration.bootstrap import Interval

_NONE = "no pictures"


def shown_rate(rate: Rate) -> str:
    return _NONE if rate.value is None else f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def shown_interval(found: Interval | None) -> str:
    return _NONE if found is None else f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"
