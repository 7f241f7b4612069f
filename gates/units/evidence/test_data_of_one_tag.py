"""A team's pictures of which none is tagged TEST-NEVER-TOUCH: clauses say what they could not test, and none dies."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from ecdd.bundle import bundle_path
from gates.own_model.bringing import gates, own_data, parts, without_rules

# of the clauses that read held-out pictures, the tests that do
CLAUSES = {
    "E4.4": ["gates/g4/test_e4_4_operating_point.py::test_held_out_pictures"],
    "E5.1": ["gates/g5/test_e5_1_probability_parity.py::test_pictures_that_nobody_calibrated_on"],
    "E6.1": without_rules("E6.1"),
    "E6.3": without_rules("E6.3"),
}


@pytest.fixture(scope="module")
def calibration_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one_tag")
    manifest, split = own_data(folder / "data", shifts=(0.0,))
    shutil.move(split, manifest.with_name("data_split.csv"))
    return manifest


def test_held_out_pictures_that_are_not_there_are_not_tested(calibration_alone: Path, tmp_path: Path) -> None:
    done = gates(bundle_path("tiny"), tmp_path, *itertools.chain(*CLAUSES.values()), "--data", str(calibration_alone))
    records = parts(tmp_path)
    assert records.keys() == CLAUSES.keys(), done.output[-2000:]
    for name, record in records.items():
        assert not record.failures, f"{name}: {record.failures}"
        assert any("TEST-NEVER-TOUCH" in one.why for one in record.not_tested), f"{name}: {record.not_tested}"
