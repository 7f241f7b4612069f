"""Training; torch."""
