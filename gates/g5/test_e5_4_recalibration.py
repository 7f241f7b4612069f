"""E5.4 recalibration after quantisation: after quantisation the calibration is refitted and the thresholds are
selected again on quantised logits, and the operating point is restored; a bundle with float calibration on a
quantised model is refused.

Quantisation moves logits, and the old thresholds then keep other promises. Fails when a mode's calibration is not the
fit of its own logits, when its bounds are above the contract's limits, or when a calibration of another mode loads.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, FileList
from ecdd.bundle.payload import entries_digest, payload_entries
from ecdd.bundle.variants import SCORES_FILE, calibration_of, modes, place
from ecdd.calibration.binomial_bounds import clopper_pearson_upper
from ecdd.calibration.calibration_set_contract import judged_set, read_scores
from ecdd.calibration.calibrators import apply
from ecdd.calibration.fitting import fit_calibration
from ecdd.calibration.metrics import sigmoid
from ecdd.inference.calibration import AppliedCalibration
from gates.g5.conftest import FLOAT, missing


@pytest.fixture(scope="session")
def logits_of(bundle: Any) -> Any:
    """Calibration pictures as a mode's own file scored them; None where the bundle holds none."""

    def read(mode: str) -> Any:
        name = place(bundle, mode, SCORES_FILE)
        return read_scores(bundle.file(name)) if name in bundle.manifest.files else None

    return read


@pytest.mark.experiment("E5.4")
def test_each_mode_is_fitted_on_its_own_logits(
    evidence: Any, bundle: Any, policy: Any, logits_of: Any, mode: str
) -> None:
    """Fitted again, the mode's logits give its record back, value by value."""
    if missing(evidence, bundle, mode):
        return
    pictures = logits_of(mode)
    if pictures is None:
        evidence.not_tested(f"calibration of {mode}", "this bundle holds no calibration logits")
        return
    stored = calibration_of(bundle, mode)
    model = bundle.manifest.files[place(bundle, mode, MODEL_FILE)].sha256
    again = fit_calibration(pictures, policy, model, stored.created).record
    fields = [name for name in type(stored).model_fields if name != "metrics"]
    differing = [name for name in fields if getattr(stored, name) != getattr(again, name)]
    evidence.check(f"{mode}.fields_that_differ", len(differing), limit=0, op="==", worst=differing[:3], n=len(fields))
    evidence.measure(f"{mode}.temperature", stored.temperature)
    evidence.measure(f"{mode}.t_real", stored.thresholds.t_real, "probability")
    evidence.measure(f"{mode}.t_fake", stored.thresholds.t_fake, "probability")


@pytest.mark.experiment("E5.4")
def test_the_operating_point_is_restored(evidence: Any, bundle: Any, policy: Any, logits_of: Any, mode: str) -> None:
    """Bounds of both error rates on the mode's logits at its own thresholds; beside them what the float's would do."""
    if missing(evidence, bundle, mode):
        return
    pictures = logits_of(mode)
    if pictures is None:
        evidence.not_tested(f"operating point of {mode}", "this bundle holds no calibration logits")
        return
    point, data = policy.operating_point, judged_set(pictures, policy.calibration)
    for whose in dict.fromkeys((mode, FLOAT if FLOAT in modes(bundle) else mode)):
        record = calibration_of(bundle, whose)
        p = sigmoid(apply(AppliedCalibration.of(record), data.logits))
        real, fake = p[data.labels == 0], p[data.labels == 1]
        counted = {
            "fpr": (int((real >= record.thresholds.t_fake).sum()), len(real), point.max_fpr),
            "fnr": (int((fake <= record.thresholds.t_real).sum()), len(fake), point.max_fnr),
        }
        for name, (errors, n, limit) in counted.items():
            upper = clopper_pearson_upper(errors, n, point.confidence)
            if whose == mode:
                evidence.check(f"{mode}.{name}_upper_bound", upper, limit=limit, unit="rate", mean=errors / n, n=n)
            else:
                evidence.measure(f"{mode}.{name}_upper_bound_with_the_float_calibration", upper, "rate")
        abstained = float(((p > record.thresholds.t_real) & (p < record.thresholds.t_fake)).mean())
        suffix = "" if whose == mode else "_with_the_float_calibration"
        evidence.measure(f"{mode}.abstain_rate{suffix}", abstained, "rate")


@pytest.mark.experiment("E5.4")
def test_the_calibration_of_another_file_is_refused(evidence: Any, bundle: Any, tmp_path: Path, mode: str) -> None:
    """Every other mode's calibration, in this one's place, with digests that fit: the bundle does not load."""
    if missing(evidence, bundle, mode):
        return
    others = [one for one in modes(bundle) if one != mode]
    if not others:
        evidence.not_tested(f"another calibration on {mode}", "this bundle carries one mode only")
        return
    accepted, silent = [], []
    for other in others:
        folder = tmp_path / other
        shutil.copytree(bundle.path, folder)
        mine = folder / place(bundle, mode, CALIBRATION_FILE)
        given = json.loads((folder / place(bundle, other, CALIBRATION_FILE)).read_text(encoding="utf-8"))
        given["thresholds"] = json.loads(mine.read_text(encoding="utf-8"))["thresholds"]  # only the fit is another's
        mine.write_text(json.dumps(given), encoding="utf-8")
        entries = payload_entries(folder)  # digests that fit, by hand: the writer refuses such a bundle too
        listed = FileList(files=entries, payload_digest=entries_digest(entries))
        (folder / MANIFEST_FILE).write_bytes(listed.text())
        try:
            load_bundle(folder)
        except BundleError as error:
            if "fitted_on_model_sha256" not in str(error):
                silent.append(other)
        else:
            accepted.append(other)
    n = len(others)
    evidence.check(
        f"{mode}.calibrations_of_another_file_accepted", len(accepted), limit=0, op="==", worst=accepted, n=n
    )
    evidence.check(f"{mode}.refused_for_another_reason", len(silent), limit=0, op="==", worst=silent, n=n)
