"""Warm predictions by picture size and by stage, and the naive path in the same run (``make bench``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gates.benchmarks.naive import naive_predictor
from gates.benchmarks.pictures import SIZES, golden_portrait, write_picture


@pytest.fixture(scope="session")
def pictures(golden: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bench")
    portrait = golden_portrait(golden)
    return {name: write_picture(portrait, size, folder / f"{name}.jpg") for name, size in SIZES.items()}


def _stages(predict: Callable[[], Any], runs: int = 15) -> dict[str, float]:
    timings = [predict().milliseconds for _ in range(runs)]
    return {stage: round(float(np.median([t[stage] for t in timings])), 2) for stage in timings[0]}


@pytest.mark.parametrize("size", list(SIZES))
def test_warm_predict(benchmark: Any, detector: Any, pictures: dict[str, Path], size: str) -> None:
    data = pictures[size].read_bytes()
    verdict = detector.predict(data)
    judged = [face for face in verdict.faces if face.probability is not None]
    assert judged, f"{size}: no face reached the model ({verdict.reason_codes}), the benchmark would measure less work"
    benchmark.extra_info["median_ms_by_stage"] = _stages(lambda: detector.predict(data))
    benchmark.pedantic(detector.predict, args=(data,), rounds=30, warmup_rounds=3)


def test_naive_path(benchmark: Any, bundle: Any, pictures: dict[str, Path]) -> None:
    naive = naive_predictor(bundle.path / "weights.safetensors")
    benchmark.pedantic(naive, args=(pictures["512x512"],), rounds=10, warmup_rounds=2)
