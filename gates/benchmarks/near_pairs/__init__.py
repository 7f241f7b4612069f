"""Benchmarks of phase 8."""
