"""The one error of monitoring."""

from __future__ import annotations


class MonitoringError(Exception):
    """A log, reference or event that cannot be used; the message says what, why and what to do."""
