"""Unit tests of optional parts are skipped, with the reason, where their library is not installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

# libraries of the extras that the gates do not need; a unit test that imports one cannot run without it
_OPTIONAL = {
    "torch": "train",
    "safetensors": "train",
    "sklearn": "train",
    "imagehash": "train",
    "onnx": "export",
    "schemathesis": "dev",
    "requests": "dev",
}
_EXPERIMENT = re.compile(r"test_e\d")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Skip, and say why, files of unit tests whose library is not installed; an experiment's file stays an error."""
    report = yield
    if report.failed and not _EXPERIMENT.match(Path(str(collector.path)).name):
        error: BaseException | None = report.call.excinfo.value
        while error is not None and not isinstance(error, ModuleNotFoundError):
            error = error.__cause__
        if error is not None and (extra := _OPTIONAL.get((error.name or "").split(".")[0])):
            reason = f"Skipped: not tested here: {error.name} is not installed; pip install 'ecdd[{extra}]'"
            report.outcome, report.longrepr = "skipped", (str(collector.path), 1, reason)
    return report
