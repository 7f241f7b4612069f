"""Unit and property tests that support this gate."""
