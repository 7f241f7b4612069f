"""Monitoring: event log, drift, canary."""
