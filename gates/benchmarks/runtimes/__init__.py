"""Benchmarks of gate G5: collected only when a file is named, run with ``-n 0`` on a quiet machine."""
