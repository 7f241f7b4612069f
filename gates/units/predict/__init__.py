"""Unit tests of inference, the detector and the command line."""
