"""Unit tests of the networks, export and calibration."""
