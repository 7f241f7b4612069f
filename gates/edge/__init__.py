"""Other machines: an ARM64 root under emulation, and the dumps that E5.6 judges; run by ``make edge``."""
