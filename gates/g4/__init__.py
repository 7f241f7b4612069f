"""Gate G4: calibration, thresholds, abstention."""
