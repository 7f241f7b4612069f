"""Tests of the golden set's manifest and of the generators behind its forged faces."""
