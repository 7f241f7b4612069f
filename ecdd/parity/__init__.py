"""Parity of two runtimes or files: metrics, limits and verdicts at patch, pooled and probability level."""
