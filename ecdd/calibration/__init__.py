"""Fitting calibration and thresholds."""
