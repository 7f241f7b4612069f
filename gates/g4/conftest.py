"""The bundle's committed calibration logits, read once, and the same pictures scored again with ``--data``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.variants import SCORES_FILE
from ecdd.calibration import calibration_set_contract as contract_of_the_set
from ecdd.inference.calibration import AppliedCalibration, probability


@dataclass(frozen=True, eq=False)
class Committed:
    """What the bundle ships: scored pictures, those that were judged, and their calibrated probabilities."""

    pictures: list[Any]
    judged: Any
    sources: list[str]
    probabilities: NDArray[np.float64]


@pytest.fixture(scope="session")
def committed(bundle: Any, policy: Any) -> Committed | None:
    """None where the bundle holds no calibration logits: gate G4 is then not tested without ``--data``."""
    if SCORES_FILE not in bundle.manifest.files:
        return None
    pictures = contract_of_the_set.read_scores(bundle.path / SCORES_FILE)
    judged = contract_of_the_set.judged_set(pictures, policy.calibration)
    applied = AppliedCalibration.of(bundle.calibration)
    p = np.array([probability(applied.logit(float(logit))) for logit in judged.logits])
    ordered = sorted((picture for picture in pictures if picture.logit is not None), key=lambda q: q.sha256)
    return Committed(pictures, judged, [picture.source for picture in ordered], p)


@pytest.fixture(scope="session")
def held_out(data_root: Path | None, detector: Any) -> list[tuple[Any, Any]]:
    """TEST-NEVER-TOUCH portraits of ``--data`` and their verdicts; empty without the option."""
    from gates.support.portraits import data_portraits

    portraits = data_portraits(data_root, "face", ("TEST-NEVER-TOUCH",))
    return [(portrait, detector.predict(portrait.path)) for portrait in portraits]


def no_logits(evidence: Any) -> None:
    """Say that nothing could be measured."""
    evidence.not_tested("calibration of this bundle", "it holds no calibration logits; run ecdd calibrate --data")
