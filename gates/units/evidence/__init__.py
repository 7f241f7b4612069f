"""Integration tests of the evidence plugin."""
