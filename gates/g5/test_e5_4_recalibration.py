"""E5.4 recalibration after quantisation: after quantisation the calibration is refitted and the thresholds are
selected again on quantised logits, and the operating point is restored; a bundle with float calibration on a
quantised model is refused.

Quantisation moves logits, and the old thresholds then keep other promises. Fails when a mode's calibration is not the
fit of its own logits, when its bounds are above the contract's limits, or when a calibration of another mode loads.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, FileList
from ecdd.bundle.payload import entries_digest, payload_entries
from ecdd.bundle.variants import SCORES_FILE, calibration_of, modes, place
from ecdd.calibration.binomial_bounds import clopper_pearson_upper
from ecdd.calibration.calibration_set_contract import JudgedSet, ScoredPicture, judged_set, read_scores
from ecdd.calibration.calibrators import apply
from ecdd.calibration.fitting import SMALL_LOGITS, fit_calibration
from ecdd.calibration.metrics import sigmoid
from ecdd.contract.model_sections import OperatingPoint
from ecdd.inference.calibration import AppliedCalibration
from gates.support.calibration_set import count_errors, error_limits, fields_that_differ
from gates.support.fixtures import Bundle, Evidence, NotTested, PolicyContract
from gates.support.mode_parity import FLOAT


@pytest.fixture
def scored(bundle: Bundle, mode: str) -> list[ScoredPicture]:
    """The calibration pictures as the mode's own file scored them."""
    name = place(bundle, mode, SCORES_FILE)
    if name not in bundle.manifest.files:
        raise NotTested(f"calibration of {mode}", "this bundle holds no calibration logits")
    return read_scores(bundle.file(name))


@pytest.mark.experiment("E5.4")
def test_each_mode_is_fitted_on_its_own_logits(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, scored: list[ScoredPicture], mode: str
) -> None:
    """Fitted again, the mode's logits give its record back, value by value."""
    stored = calibration_of(bundle, mode)
    model = bundle.manifest.files[place(bundle, mode, MODEL_FILE)].sha256
    small = SMALL_LOGITS in stored.metrics
    again = fit_calibration(scored, policy, model, stored.created, small_logits=small).record
    fields = len(type(stored).model_fields) - 1
    evidence.none(f"{mode}.fields_that_differ", fields_that_differ(stored, again), n=fields, unit="")
    evidence.measure(f"{mode}.temperature", stored.temperature)
    evidence.measure(f"{mode}.t_real", stored.thresholds.t_real, "probability")
    evidence.measure(f"{mode}.t_fake", stored.thresholds.t_fake, "probability")


@pytest.mark.experiment("E5.4")
def test_the_operating_point_is_restored(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, scored: list[ScoredPicture], mode: str
) -> None:
    """Bounds of both error rates on the mode's logits at its own thresholds; beside them what the float's would do."""
    point, data = policy.operating_point, judged_set(scored, policy.calibration)
    own = _operating_point(calibration_of(bundle, mode), data, point)
    for error in error_limits(point):
        errors, n = own.errors[error.name]
        upper = clopper_pearson_upper(errors, n, point.confidence)
        evidence.check(f"{mode}.{error.name}_upper_bound", upper, limit=error.limit, unit="rate", mean=errors / n, n=n,
                       clause=error.clause)  # fmt: skip
    evidence.measure(f"{mode}.abstain_rate", own.abstain_rate, "rate")
    if mode == FLOAT or FLOAT not in modes(bundle):
        return
    borrowed = _operating_point(calibration_of(bundle, FLOAT), data, point)
    for name, (errors, n) in borrowed.errors.items():
        upper = clopper_pearson_upper(errors, n, point.confidence)
        evidence.measure(f"{mode}.{name}_upper_bound_with_the_float_calibration", upper, "rate")
    evidence.measure(f"{mode}.abstain_rate_with_the_float_calibration", borrowed.abstain_rate, "rate")


@dataclass(frozen=True)
class Measured:
    """What a calibration does on a mode's logits: (errors, pictures of the class) by error, and share undecided."""

    errors: dict[str, tuple[int, int]]
    abstain_rate: float


def _operating_point(record: CalibrationRecord, data: JudgedSet, point: OperatingPoint) -> Measured:
    p, t = sigmoid(apply(AppliedCalibration.of(record), data.logits)), record.thresholds
    errors = {one.name: count_errors(one, p, data.labels, t.t_real, t.t_fake) for one in error_limits(point)}
    return Measured(errors, float(((p > t.t_real) & (p < t.t_fake)).mean()))


@pytest.mark.experiment("E5.4")
def test_the_calibration_of_another_file_is_refused(
    evidence: Evidence, bundle: Bundle, tmp_path: Path, mode: str
) -> None:
    """Every other mode's calibration, in this one's place, with digests that fit: the bundle does not load."""
    others = [one for one in modes(bundle) if one != mode]
    if not others:
        raise NotTested(f"another calibration on {mode}", "this bundle carries one mode only")
    accepted, silent = [], []
    for other in others:
        try:
            load_bundle(_with_the_fit_of(other, bundle, mode, tmp_path / other))
        except BundleError as error:
            if "fitted_on_model_sha256" not in str(error):
                silent.append(other)
        else:
            accepted.append(other)
    evidence.none(f"{mode}.calibrations_of_another_file_accepted", accepted, n=len(others), unit="")
    evidence.none(f"{mode}.refused_for_another_reason", silent, n=len(others), unit="")


def _with_the_fit_of(other: str, bundle: Bundle, mode: str, folder: Path) -> Path:
    """A copy of the bundle whose mode has another mode's fit, with its own thresholds and digests that fit."""
    shutil.copytree(bundle.path, folder)
    mine = folder / place(bundle, mode, CALIBRATION_FILE)
    given = json.loads((folder / place(bundle, other, CALIBRATION_FILE)).read_text(encoding="utf-8"))
    given["thresholds"] = json.loads(mine.read_text(encoding="utf-8"))["thresholds"]
    mine.write_text(json.dumps(given), encoding="utf-8")
    entries = payload_entries(folder)  # by hand: the writer refuses such a bundle too
    listed = FileList(files=entries, payload_digest=entries_digest(entries))
    (folder / MANIFEST_FILE).write_bytes(listed.text())
    return folder
