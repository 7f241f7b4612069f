"""Whole processes: a cold prediction, two jobs against one, memory over 5000 predictions (``make bench``)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from gates.benchmarks.pictures import SIZES, golden_portrait, write_picture
from gates.support.processes import MEGABYTE, keeping_compiled, launch


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return keeping_compiled(tmp_path_factory.mktemp("compiled"))


def _run(arguments: list[str], environment: dict[str, str], lines: int) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one ``ecdd predict``."""
    done = launch(["-m", "ecdd", "predict", *arguments, "--json"], environment)
    verdicts = [json.loads(line) for line in done.output.splitlines()]
    assert len(verdicts) == lines, f"{len(verdicts)} verdicts, expected {lines}"
    assert all(verdict["probability"] is not None for verdict in verdicts), "a picture did not reach the model"
    return done.seconds, done.megabytes


@pytest.fixture(scope="session")
def portrait(golden: Any) -> Path:
    return golden_portrait(golden)


def test_cold_predict(benchmark: Any, portrait: Path, environment: dict[str, str], tmp_path: Path) -> None:
    picture = write_picture(portrait, SIZES["512x512"], tmp_path / "512.jpg")
    peaks: list[float] = []

    def cold() -> None:
        peaks.append(_run([str(picture)], environment, 1)[1])

    benchmark.pedantic(cold, rounds=10, warmup_rounds=1)
    benchmark.extra_info["peak_mb"] = round(max(peaks), 1)


def test_two_jobs(benchmark: Any, portrait: Path, environment: dict[str, str], tmp_path: Path) -> None:
    picture = write_picture(portrait, SIZES["1920x1080"], tmp_path / "picture.jpg")
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(200):
        shutil.copyfile(picture, folder / f"{index:03d}.jpg")
    walls: dict[int, list[float]] = {1: [], 2: []}

    def alternate() -> None:  # one after the other in every round, so that drift of the machine hits both
        for jobs, seconds in walls.items():
            seconds.append(_run([str(folder), "--jobs", str(jobs)], environment, 200)[0])

    benchmark.pedantic(alternate, rounds=5, warmup_rounds=1)
    ratios = sorted(one / two for one, two in zip(walls[1][1:], walls[2][1:], strict=True))
    benchmark.extra_info["one_job_over_two_jobs_median"] = round(ratios[len(ratios) // 2], 2)
    benchmark.extra_info["one_job_over_two_jobs_best"] = round(ratios[-1], 2)
    benchmark.extra_info["seconds"] = {f"{jobs} jobs": [round(s, 2) for s in walls[jobs][1:]] for jobs in walls}


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
    benchmark.extra_info["growth_mb"] = round((process.memory_info().rss - before) / MEGABYTE, 2)
