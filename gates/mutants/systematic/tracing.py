"""Pytest plugin that writes down which test runs which line, how long it takes and whether it passes.

``ECDD_TRACE`` names the folder of the two files: ``lines.sqlite`` (coverage.py, one context a test and phase) and
``outcomes.json``. Coverage begins with this module, before anything of the project is imported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

from gates.mutants.systematic import LINES, OUTCOMES

VARIABLE: Final = "ECDD_TRACE"
_ROOT: Final = Path(__file__).resolve().parents[3]
_FOLDER: Final = Path(os.environ[VARIABLE])
_tracer = coverage.Coverage(data_file=str(_FOLDER / LINES), include=[f"{_ROOT}/ecdd/*"], config_file=False)
_tracer.start()
_outcomes: dict[str, dict[str, Any]] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    _outcomes[item.nodeid] = {"passed": True, "seconds": 0.0, "experiment": bool(item.get_closest_marker("experiment"))}
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    _tracer.switch_context(f"{item.nodeid}|setup")
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    _tracer.switch_context(f"{item.nodeid}|call")
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        _tracer.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    found = _outcomes[report.nodeid]
    found["seconds"] += report.duration
    found["passed"] &= report.outcome == "passed"


def pytest_unconfigure() -> None:
    _tracer.stop()
    _tracer.save()
    (_FOLDER / OUTCOMES).write_text(json.dumps(_outcomes), encoding="utf-8")
