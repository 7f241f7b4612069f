"""Timings are collected only with ``--benchmark-only``: they are no part of the gate."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the file of timings out of every other run."""
    timed = collection_path.name == "test_timings.py"
    return True if timed and not config.getoption("benchmark_only", default=False) else None
