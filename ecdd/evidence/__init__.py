"""Metric, threshold, verdict: evidence records, reports and the pytest plugin."""

from ecdd.evidence.unmeasured import NotApplicable, NotTested

__all__ = ["NotApplicable", "NotTested"]
