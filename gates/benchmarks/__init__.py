"""Benchmarks: run by `make bench`, never part of a verdict."""
