"""Tests of the local site: limits, errors, workers, and what its API promises."""
