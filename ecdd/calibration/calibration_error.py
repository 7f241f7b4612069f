"""The error of this package: what was seen, what is allowed, what to do."""

from __future__ import annotations


class CalibrationError(Exception):
    """A calibration cannot be fitted."""
