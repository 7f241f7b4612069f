"""Releases: decided from evidence, signed, and verified byte by byte."""
