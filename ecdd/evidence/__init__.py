"""Metric, threshold, verdict: records, reports and the pytest plugin."""
