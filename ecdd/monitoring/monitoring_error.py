"""The one error of monitoring."""

from __future__ import annotations

from ecdd.errors import EcddError


class MonitoringError(EcddError):
    """A log, reference or event that cannot be used; the message says what, why and what to do."""
