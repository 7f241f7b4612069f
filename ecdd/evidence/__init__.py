"""Metric, threshold, verdict: evidence records, reports and the pytest plugin."""
