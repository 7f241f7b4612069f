"""Pytest plugin that writes down which test runs which line, how long it takes and whether it passes.

``ECDD_TRACE`` names the folder of the two files: ``lines.sqlite`` (coverage.py, one context a test and phase) and
``outcomes.json``. Coverage begins with this module, before anything of the project is imported. Seconds are those of
the processor, of this process and of those that it waited for: a machine that is busy elsewhere does not change them.
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


def _processor_seconds() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    found = {"passed": True, "seconds": 0.0, "experiment": bool(item.get_closest_marker("experiment"))}
    _outcomes[item.nodeid], begun = found, _processor_seconds()
    try:
        return (yield)
    finally:
        found["seconds"] = round(_processor_seconds() - begun, 2)


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
    _outcomes[report.nodeid]["passed"] &= report.outcome == "passed"


def pytest_unconfigure() -> None:
    _tracer.stop()
    _tracer.save()
    (_FOLDER / OUTCOMES).write_text(json.dumps(_outcomes), encoding="utf-8")
