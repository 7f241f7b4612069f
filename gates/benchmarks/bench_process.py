"""Whole processes: a cold prediction, two jobs against one, memory over 5000 predictions (``make bench``)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from gates.benchmarks.pictures import SIZES, golden_portrait, write_picture

MEGABYTE = 1e6


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The caller's environment, but with compiled modules kept, as in an installed package; warm-up compiles them."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled"))}


# A child begins with the peak memory of the process that forked it, so the one that is measured is the child of a
# process that is smaller than it: a bare interpreter, which also takes the time.
LAUNCHER = """
import os, sys, time
start = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=sys.stderr)
"""


def _run(arguments: list[str], environment: dict[str, str], lines: int) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process, by the operating system's own account."""
    command = [sys.executable, "-m", "ecdd", "predict", *arguments, "--json"]
    launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launched, capture_output=True, check=True, env=environment, text=True)
    wall, kibibytes, code = done.stderr.splitlines()[-1].split()
    assert code == "0", f"{' '.join(command)} ended with {code}: {done.stderr}"
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == lines, f"{len(verdicts)} verdicts, expected {lines}"
    assert all(verdict["probability"] is not None for verdict in verdicts), "a picture did not reach the model"
    return float(wall), int(kibibytes) * 1024 / MEGABYTE


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
