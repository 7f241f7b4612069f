"""Unit tests of the comparison of two model files."""
