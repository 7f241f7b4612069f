"""Unit tests that support no single gate."""
