"""From a scored calibration set to the record that ships: calibration, thresholds, and what they achieve."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.calibration_record import Thresholds as RecordedThresholds
from ecdd.calibration.bootstrap import calibration_intervals
from ecdd.calibration.calibration_set_contract import JudgedSet, ScoredPicture, judged_set
from ecdd.calibration.calibrators import CalibratorFit, apply, fit_calibrator, refuse_nonsense
from ecdd.calibration.metrics import sigmoid
from ecdd.calibration.operating_point import Thresholds, choose_thresholds
from ecdd.contract.schema import PolicyContract

# in a record's metrics: its logits all lie between 0 and 1, and are logits all the same
SMALL_LOGITS: Final = "small_logits"


@dataclass(frozen=True)
class FittedCalibration:
    """Calibration and thresholds with the record that goes into the bundle."""

    record: CalibrationRecord
    calibrator: CalibratorFit
    thresholds: Thresholds

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person has to know of the fit: warnings first, then what was accepted, then the thresholds' notes."""
        warnings = (f"warning: {warning}" for warning in self.calibrator.warnings)
        return (*warnings, self.calibrator.reason, *self.thresholds.notes)


def fit_calibration(
    pictures: list[ScoredPicture],
    policy: PolicyContract,
    model_sha256: str,
    created: datetime.date,
    *,
    small_logits: bool = False,
) -> FittedCalibration:
    """Fit the contract's calibration and thresholds on the shipped model's own logits.

    Parameters
    ----------
    pictures : list of ScoredPicture
        Scored CALIBRATION pictures, those that were not judged included.
    policy : PolicyContract
        ``calibration`` and ``operating_point``.
    model_sha256 : str
        SHA-256 of the model file that gave the logits.
    created : date
        Day the set was frozen.
    small_logits : bool
        Whoever gives the logits says that they are no probabilities, though all lie between 0 and 1.

    Returns
    -------
    FittedCalibration
        Record and details.

    Raises
    ------
    CalibrationError
        If the set is too small, its logits cannot be calibrated, the fit fails, or what it gives is worse than a coin.
    """
    data = judged_set(pictures, policy.calibration)
    declared = policy.model_interface.output_kind != "patch_logits"  # the contract says that these are logits
    fit = fit_calibrator(
        policy.calibration.method, data.logits, data.labels, data.groups, small_logits=small_logits or declared
    )
    refuse_nonsense(fit, data.logits, data.labels)
    calibrated = apply(fit.applied, data.logits)
    thresholds = choose_thresholds(sigmoid(calibrated), data.labels, policy.operating_point)
    said: dict[str, float | int | str | None] = {SMALL_LOGITS: "said by their maker"} if small_logits else {}
    record = CalibrationRecord(
        # a refused calibration applies nothing; of isotonic there is no such curve, so the contract must name another
        method="temperature" if policy.calibration.method == "isotonic" and not fit.accepted else fit.method,
        temperature=fit.applied.temperature,
        bias=fit.applied.bias,
        knots=fit.applied.knots,
        fitted_on_model_sha256=model_sha256,
        calibration_set_digest=data.digest,
        n_real=data.n_real,
        n_fake=data.n_fake,
        metrics=_metrics(pictures, data, fit, thresholds) | said,
        thresholds=RecordedThresholds(t_real=thresholds.t_real, t_fake=thresholds.t_fake),
        created=created,
    )
    return FittedCalibration(record, fit, thresholds)


def _metrics(
    pictures: list[ScoredPicture], data: JudgedSet, fit: CalibratorFit, thresholds: Thresholds
) -> dict[str, float | int | str | None]:
    numbers: dict[str, float | int | str | None] = {}
    for name, interval in calibration_intervals(apply(fit.applied, data.logits), data.labels, data.groups).items():
        numbers |= {name: interval.estimate, f"{name}_low_95": interval.low, f"{name}_high_95": interval.high}
    numbers |= {
        "calibration_decision": fit.reason,
        "overfit_nll": fit.overfit,
        "nll_out_of_fold_before": fit.nll_before,
        "nll_out_of_fold_after": fit.nll_after,
        "ece_out_of_fold_before": fit.ece_before,
        "ece_out_of_fold_after": fit.ece_after,
        "warnings": "; ".join(fit.warnings) or None,
        "false_positives": thresholds.false_positives,
        "fpr_upper": thresholds.fpr_upper,
        "false_negatives": thresholds.false_negatives,
        "fnr_upper": thresholds.fnr_upper,
        "abstain_rate_real": thresholds.abstain_real,
        "abstain_rate_fake": thresholds.abstain_fake,
        "constraints_not_met": ", ".join(name for name, met in thresholds.met.items() if not met) or "none",
        "notes": "; ".join(thresholds.notes) or None,
        "pictures": "files as they are, through the canonical pipeline",
        "n_pictures": len(pictures),
    }
    for label, name in ((0, "real"), (1, "fake")):
        numbers[f"not_judged_{name}"] = sum(q.label == label and q.logit is None for q in pictures)
    for source in sorted({q.source for q in pictures}):
        scores = [q.logit for q in pictures if q.source == source and q.logit is not None]
        numbers[f"mean_logit_{source}"] = sum(scores) / len(scores) if scores else None
    return numbers
