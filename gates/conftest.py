"""Tests whose library is missing are skipped, with the reason; of a run with workers the longest tests begin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ecdd.errors import how_to_install

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
# files with tests of half a minute or more: begun last, one of them would leave the other workers idle
_LONG = (
    "own_model/test_own_model.py",
    "units/package/test_wheel.py",
    "phase7/test_e7_3_",
    "phase8/test_e8_1_",
    "phase7/test_e7_2_",
    "training/test_unit_train_command.py",
    "training/test_unit_trainer.py",
    "g6/units/test_unit_scoring.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Skip, and say why, files of unit tests whose library is not installed; an experiment's file stays an error."""
    report = yield
    if report.failed and not _EXPERIMENT.match(Path(str(collector.path)).name):
        error: BaseException | None = report.call.excinfo.value
        while error is not None and not isinstance(error, ModuleNotFoundError):
            error = error.__cause__
        if error is not None and (extra := _OPTIONAL.get((error.name or "").split(".")[0])):
            reason = f"Skipped: not tested here: {error.name} is not installed; {how_to_install(extra)}"
            report.outcome, report.longrepr = "skipped", (str(collector.path), 1, reason)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With workers, the longest tests first; the others stay in their order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(part in item.nodeid for part in _LONG))
