"""From a scored calibration set to the record that ships: temperature, thresholds, and what they achieve."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.calibration_record import Thresholds as RecordedThresholds
from ecdd.calibration.calibration_set_contract import JudgedSet, ScoredPicture, judged_set
from ecdd.calibration.metrics import (
    auc,
    bootstrap_interval,
    brier,
    expected_calibration_error,
    negative_log_likelihood,
    sigmoid,
)
from ecdd.calibration.operating_point import Thresholds, choose_thresholds
from ecdd.calibration.temperature_scaling import CalibrationError, TemperatureFit, fit_temperature
from ecdd.contract.schema import PolicyContract


@dataclass(frozen=True)
class FittedCalibration:
    """Temperature and thresholds with the record that goes into the bundle."""

    record: CalibrationRecord
    temperature: TemperatureFit
    thresholds: Thresholds


def fit_calibration(
    pictures: list[ScoredPicture], policy: PolicyContract, model_sha256: str, created: datetime.date
) -> FittedCalibration:
    """Fit temperature and thresholds on the shipped model's own logits.

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

    Returns
    -------
    FittedCalibration
        Record and details.

    Raises
    ------
    CalibrationError
        If the contract asks for another method, the set is too small, or the fit fails.
    """
    if policy.calibration.method != "temperature":
        msg = f"calibration.method {policy.calibration.method!r} cannot be fitted yet; only temperature can"
        raise CalibrationError(msg)
    data = judged_set(pictures, policy.calibration)
    fit = fit_temperature(data.logits, data.labels, data.groups)
    thresholds = choose_thresholds(sigmoid(data.logits / fit.temperature), data.labels, policy.operating_point)
    record = CalibrationRecord(
        method="temperature",
        temperature=fit.temperature,
        bias=0.0,
        fitted_on_model_sha256=model_sha256,
        calibration_set_digest=data.digest,
        n_real=data.n_real,
        n_fake=data.n_fake,
        metrics=_metrics(pictures, data, fit, thresholds),
        thresholds=RecordedThresholds(t_real=thresholds.t_real, t_fake=thresholds.t_fake),
        created=created,
    )
    return FittedCalibration(record, fit, thresholds)


def _metrics(
    pictures: list[ScoredPicture], data: JudgedSet, fit: TemperatureFit, thresholds: Thresholds
) -> dict[str, float | int | str | None]:
    p = sigmoid(data.logits / fit.temperature)
    low, high = bootstrap_interval(lambda k: auc(p[k], data.labels[k]), data.labels, data.groups)
    numbers: dict[str, float | int | str | None] = {
        "auc": auc(p, data.labels),
        "auc_low_95": low,
        "auc_high_95": high,
        "nll": negative_log_likelihood(data.logits / fit.temperature, data.labels),
        "brier": brier(p, data.labels),
        "ece": expected_calibration_error(p, data.labels),
        "temperature_decision": fit.reason,
        "temperature_fitted": fit.fitted,
        "nll_out_of_fold_before": fit.nll_before,
        "nll_out_of_fold_after": fit.nll_after,
        "ece_out_of_fold_before": fit.ece_before,
        "ece_out_of_fold_after": fit.ece_after,
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
