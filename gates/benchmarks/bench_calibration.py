"""Calibration of many logits: fit, bounds and 2000 bootstrap resamples; and whether time is linear (``make bench``)."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from ecdd.calibration.bootstrap import calibration_intervals
from ecdd.calibration.calibrators import apply, fit_calibrator
from ecdd.calibration.metrics import sigmoid
from ecdd.calibration.operating_point import choose_thresholds

MANY = 1_000_000


def drawn(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    return rng.normal(2 * labels - 1, 1.5), labels


def whole(n: int, resamples: int, point: Any) -> None:
    logits, labels = drawn(n)
    fit = fit_calibrator("temperature", logits, labels)
    calibrated = apply(fit.applied, logits)
    choose_thresholds(sigmoid(calibrated), labels, point)
    calibration_intervals(calibrated, labels, resamples=resamples)


def test_calibration_of_10k(benchmark: Any, policy: Any) -> None:
    benchmark.pedantic(whole, args=(10_000, 2000, policy.operating_point), rounds=3, warmup_rounds=1)


def test_calibration_of_1m(benchmark: Any, policy: Any) -> None:
    """Ten resamples of a million in a process of its own: time against 100 000, and its largest memory."""
    code = "import sys; from gates.benchmarks.bench_calibration import memory_of; print(memory_of())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    benchmark.extra_info["peak_mb"] = float(done.stdout.split()[-1])
    seconds = []
    for n in (MANY // 10, MANY):
        start = time.perf_counter()
        whole(n, 10, policy.operating_point)
        seconds.append(time.perf_counter() - start)
    benchmark.extra_info["ten_times_the_logits"] = seconds[1] / seconds[0]
    benchmark.pedantic(whole, args=(MANY, 10, policy.operating_point), rounds=1)


def memory_of() -> float:
    """Largest memory of this process after calibrating a million logits, MB."""
    from ecdd.contract.loading import load_contract

    whole(MANY, 10, load_contract().policy.operating_point)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
