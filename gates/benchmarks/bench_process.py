"""Whole processes: a cold prediction, two jobs against one, memory over 5000 predictions (``make bench``)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gates.benchmarks.pictures import SIZES, write_picture

MIB = 2**20


def _run(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident MiB of one process, by the operating system's own account."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ecdd", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"ecdd {' '.join(arguments)} ended with {process.returncode}"
    return wall, usage.ru_maxrss / 1024


@pytest.fixture(scope="session")
def portrait(golden: Any) -> Path:
    return Path(next(item.path for item in golden.by_set("in_scope") if item.expected.label == "real"))


def test_cold_predict(benchmark: Any, portrait: Path, tmp_path: Path) -> None:
    picture = write_picture(portrait, SIZES["512x512"], tmp_path / "512.jpg")
    peaks: list[float] = []

    def cold() -> None:
        peaks.append(_run(["predict", str(picture), "--json"])[1])

    benchmark.pedantic(cold, rounds=10, warmup_rounds=1)
    benchmark.extra_info["peak_mib"] = round(max(peaks), 1)


def test_two_jobs(benchmark: Any, portrait: Path, tmp_path: Path) -> None:
    picture = write_picture(portrait, SIZES["1920x1080"], tmp_path / "picture.jpg")
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(200):
        shutil.copyfile(picture, folder / f"{index:03d}.jpg")
    walls: dict[int, list[float]] = {1: [], 2: []}

    def alternate() -> None:  # one after the other in every round, so that drift of the machine hits both
        for jobs, seconds in walls.items():
            seconds.append(_run(["predict", str(folder), "--jobs", str(jobs), "--json"])[0])

    benchmark.pedantic(alternate, rounds=5, warmup_rounds=1)
    ratios = sorted(one / two for one, two in zip(walls[1][1:], walls[2][1:], strict=True))
    benchmark.extra_info["one_job_over_two_jobs_median"] = round(ratios[len(ratios) // 2], 2)


def test_memory_over_5000(benchmark: Any, detector: Any, portrait: Path, tmp_path: Path) -> None:
    data = write_picture(portrait, SIZES["512x512"], tmp_path / "512.jpg").read_bytes()
    process = psutil.Process()
    for _ in range(200):
        detector.predict(data)
    before = process.memory_info().rss

    def many() -> None:
        for _ in range(5000):
            detector.predict(data)

    benchmark.pedantic(many, rounds=1)
    benchmark.extra_info["growth_mib"] = round((process.memory_info().rss - before) / MIB, 2)
