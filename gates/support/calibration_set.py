"""What gate G4 measures on: the bundle's calibration pictures with their logits, and portraits with their verdicts."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.loading import Bundle
from ecdd.bundle.variants import SCORES_FILE
from ecdd.calibration import calibration_set_contract as contract_of_the_set
from ecdd.calibration.calibration_set_contract import JudgedSet, ScoredPicture
from ecdd.contract.model_sections import OperatingPoint
from ecdd.contract.schema import PolicyContract
from ecdd.detector import Detector
from ecdd.evidence.unmeasured import NotTested
from ecdd.inference.calibration import AppliedCalibration, probability
from ecdd.verdict import Verdict
from gates.support.portraits import Portrait

# Fits of today end within 1e-9 of each other on every processor. Those of earlier releases stopped where the loss no
# longer fell, up to 2e-8 beside the minimum, and depended on how a processor adds.
PARAMETER_TOLERANCE: Final = 1e-7


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """The calibration pictures of a bundle.

    Attributes
    ----------
    pictures : list of ScoredPicture
        All that were scored.
    judged : JudgedSet
        Logits, labels (1 fake, 0 real) and groups of those that reached the model.
    sources : ndarray of str, shape (n,)
        Of the judged pictures.
    probabilities : ndarray, float64, shape (n,)
        Calibrated P(fake) of the judged pictures.
    """

    pictures: list[ScoredPicture]
    judged: JudgedSet
    sources: NDArray[np.str_]
    probabilities: NDArray[np.float64]


def calibration_set_of(bundle: Bundle, policy: PolicyContract) -> CalibrationSet:
    """Read the calibration logits that a bundle ships; without them gate G4 is not tested."""
    if SCORES_FILE not in bundle.manifest.files:
        raise NotTested("calibration of this bundle", "it holds no calibration logits; run ecdd calibrate --data")
    pictures = contract_of_the_set.read_scores(bundle.path / SCORES_FILE)
    judged = contract_of_the_set.judged_set(pictures, policy.calibration)
    applied = AppliedCalibration.of(bundle.calibration)
    p = np.array([probability(applied.logit(float(logit))) for logit in judged.logits])
    ordered = sorted((picture for picture in pictures if picture.logit is not None), key=lambda one: one.sha256)
    return CalibrationSet(pictures, judged, np.array([picture.source for picture in ordered]), p)


def fields_that_differ(stored: CalibrationRecord, again: CalibrationRecord) -> list[str]:
    """Fields beside ``metrics`` in which a calibration fitted again is another one; all but parameters bit for bit."""
    near = functools.partial(np.allclose, rtol=PARAMETER_TOLERANCE, atol=PARAMETER_TOLERANCE)
    same = {name: near(getattr(stored, name), getattr(again, name)) for name in ("temperature", "bias")}
    if len(stored.knots) == len(again.knots):
        same["knots"] = near(stored.knots, again.knots)
    names = [name for name in type(stored).model_fields if name != "metrics"]
    return [name for name in names if not same.get(name, getattr(stored, name) == getattr(again, name))]


@dataclass(frozen=True)
class Predicted:
    """A labelled portrait (1 fake, 0 real, None out of scope) and the detector's verdict on it."""

    name: str
    label: int | None
    verdict: Verdict

    @property
    def abstained(self) -> bool:
        """Whether the detector decided nothing."""
        return self.verdict.label == "abstain"


def predicted(detector: Detector, portraits: Iterable[Portrait]) -> list[Predicted]:
    """Judge portraits."""
    return [Predicted(one.name, one.label, detector.predict(one.path)) for one in portraits]


@dataclass(frozen=True)
class ErrorLimit:
    """One of the two errors, and how often it may happen: pictures of class ``label`` that are called ``wrong``."""

    name: str
    label: int
    wrong: str
    limit: float

    @property
    def clause(self) -> str:
        """Contract key that holds the limit."""
        return f"operating_point.max_{self.name}"


def error_limits(point: OperatingPoint) -> tuple[ErrorLimit, ErrorLimit]:
    """The contract's limits on reals called fake (FPR) and on fakes called real (FNR)."""
    return ErrorLimit("fpr", 0, "fake", point.max_fpr), ErrorLimit("fnr", 1, "real", point.max_fnr)


def count_errors(
    error: ErrorLimit, p: NDArray[np.floating], labels: NDArray[np.integer], t_real: float, t_fake: float
) -> tuple[int, int]:
    """Errors among calibrated probabilities (n,) at two thresholds, and pictures of the class."""
    mine = p[labels == error.label]
    return int((mine >= t_fake).sum() if error.wrong == "fake" else (mine <= t_real).sum()), len(mine)
