"""The error of this package: what was seen, what is allowed, what to do."""

from __future__ import annotations

from ecdd.errors import EcddError


class CalibrationError(EcddError):
    """A calibration cannot be fitted."""
