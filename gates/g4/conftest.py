"""What gate G4 measures on: the bundle's calibration set, and the portraits of ``--data`` that nobody fitted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gates.support.calibration_set import CalibrationSet, Predicted, calibration_set_of, predicted
from gates.support.fixtures import Bundle, Detector, PolicyContract
from gates.support.portraits import data_portraits


@pytest.fixture(scope="session")
def calibration_set(bundle: Bundle, policy: PolicyContract) -> CalibrationSet:
    return calibration_set_of(bundle, policy)


@pytest.fixture(scope="session")
def held_out(data_root: Path | None, detector: Detector) -> list[Predicted]:
    """TEST-NEVER-TOUCH portraits of ``--data``; empty without the option."""
    return predicted(detector, data_portraits(data_root, "face", ("TEST-NEVER-TOUCH",)))
