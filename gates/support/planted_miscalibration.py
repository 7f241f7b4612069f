"""Calibration sets whose truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def planted_logits(n: int, slope: float, bias: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits x with P(fake) = sigmoid(slope * x + bias), and labels drawn by it."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(np.int64)
    return (true - bias) / slope, labels
