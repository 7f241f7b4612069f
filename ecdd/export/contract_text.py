"""The contract of a bundle that is being built, as text: comments stay, thresholds are the fitted ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ecdd.calibration.fitting import FittedCalibration
from ecdd.contract.loading import LoadedContract, load_contract
from ecdd.contract.value_lines import set_contract_values


def read_contract(text: str, place: Path) -> LoadedContract:
    """Load a contract from its text; messages name ``place``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (place.name + ".yaml")
        path.write_text(text, encoding="utf-8")
        return load_contract(path)


def with_thresholds(text: str, contract: LoadedContract, fitted: FittedCalibration) -> str:
    """Text of the contract with the fitted thresholds, marked frozen; everything else stays as it is."""
    values: dict[str, float | str] = {
        "operating_point.t_real": fitted.thresholds.t_real,
        "operating_point.t_fake": fitted.thresholds.t_fake,
    }
    contract.with_values(dict(values), status="frozen")  # refuses what the schema does not allow
    return set_contract_values(text, values, "frozen")
