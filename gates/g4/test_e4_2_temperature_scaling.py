"""E4.2 temperature scaling: held-out NLL and ECE improve, or the temperature is refused; the thresholds are stable
over bootstrap resamples.

A temperature can be fitted to anything, and a fit that hurts held-out pictures makes probabilities worse than none.
Fails when a planted temperature is not found, a useless one is not refused, or the thresholds move more over
resamples than the contract allows.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.calibration import calibrators
from ecdd.calibration.bootstrap import resampled_weights
from ecdd.calibration.fitting import fit_calibration
from ecdd.calibration.metrics import expected_calibration_error, sigmoid
from ecdd.calibration.operating_point import choose_thresholds
from gates.support import calibration_figures as figures
from gates.support.calibration_set import CalibrationSet, fields_that_differ
from gates.support.fixtures import Bundle, Evidence, PolicyContract
from gates.support.planted_miscalibration import planted_logits

RESAMPLES = 400


@pytest.mark.experiment("E4.2")
def test_a_planted_temperature_is_found(evidence: Evidence) -> None:
    """A fit that returns its input unchanged is no fit. Twice the sampling error of T over seeds is allowed."""
    for temperature in (0.2, 1.0, 4.0):
        sets = [planted_logits(2000, 1 / temperature, 0.0, seed) for seed in range(8)]
        found = [calibrators.fit_calibrator("temperature", *one).fitted.temperature for one in sets]
        error = abs(float(np.mean(found)) / temperature - 1)
        evidence.check(f"planted_{temperature:g}_relative_error", error, limit=0.05, unit="of T", n=len(found))


@pytest.mark.experiment("E4.2")
def test_applied_probabilities_are_the_recorded_ones(
    evidence: Evidence, bundle: Bundle, calibration_set: CalibrationSet
) -> None:
    """The numbers of the record follow from logits, labels and parameters; shifted labels or a second sigmoid show."""
    p, y, recorded = calibration_set.probabilities, calibration_set.judged.labels, bundle.calibration.metrics
    nll = _nll(np.clip(p, 1e-15, 1 - 1e-15), y)
    evidence.check("nll_differs_from_record", abs(nll - float(recorded["nll"])), limit=1e-6, unit="nat", n=len(y))
    ece = expected_calibration_error(p, y)
    evidence.check("ece_differs_from_record", abs(ece - float(recorded["ece_equal_mass"])), limit=1e-6, n=len(y))
    before = _nll(sigmoid(calibration_set.judged.logits), y)
    evidence.check("nll_less_than_uncalibrated", nll, limit=before, op="<=", unit="nat", n=len(y))
    evidence.measure("uncalibrated_nll", before, "nat")
    for name in ("nll", "brier", "ece_equal_mass", "ece_equal_width", "auc"):
        low, high = recorded[f"{name}_low_95"], recorded[f"{name}_high_95"]
        evidence.measure(name, f"{recorded[name]:.4f} [{low:.4f}, {high:.4f}]")
    caption = (
        "Predicted P(fake) against the observed share of fakes, ten bins of equal count, 95 % Clopper-Pearson bands."
    )
    evidence.figure("reliability", figures.reliability(calibration_set, bundle), caption)


def _nll(p: NDArray[np.float64], y: NDArray[np.integer]) -> float:
    """Of probabilities, not of logits as in the product: what is applied is judged."""
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


@pytest.mark.experiment("E4.2")
def test_out_of_fold_it_improves_or_is_refused(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, calibration_set: CalibrationSet
) -> None:
    data = calibration_set.judged
    fit = calibrators.fit_calibrator("temperature", data.logits, data.labels, data.groups)
    evidence.measure("decision", fit.reason)
    helped = fit.nll_after < fit.nll_before and fit.ece_after < fit.ece_before
    evidence.check("accepted_without_improvement", int(fit.accepted and not helped), limit=0, op="==")
    applied = int(not fit.accepted and fit.applied.temperature != 1)
    evidence.check("temperature_applied_though_refused", applied, limit=0, op="==")
    stored = bundle.calibration
    again = fit_calibration(calibration_set.pictures, policy, stored.fitted_on_model_sha256, stored.created).record
    fields = len(type(stored).model_fields) - 1
    differing = fields_that_differ(stored, again)
    evidence.none("fields_not_reproduced", differing, n=fields, unit="field")


@pytest.mark.experiment("E4.2")
def test_threshold_stability(evidence: Evidence, policy: PolicyContract, calibration_set: CalibrationSet) -> None:
    """t_fake and t_real refitted with the whole calibration on resamples of the set; near-duplicates drawn together."""
    data, method = calibration_set.judged, policy.calibration.method
    drawn = []
    for weights in resampled_weights(data.labels, data.groups, RESAMPLES, seed=40):
        index = np.repeat(np.arange(len(data.labels)), weights.astype(np.int64))
        applied = calibrators.METHODS[method](data.logits[index], data.labels[index])
        p = sigmoid(calibrators.apply(applied, data.logits[index]))
        found = choose_thresholds(p, data.labels[index], policy.operating_point)
        drawn.append((found.t_real, found.t_fake))
    values = np.array(drawn)
    for k, name in enumerate(("t_real", "t_fake")):
        low, high = np.quantile(values[:, k], [0.05, 0.95])
        evidence.measure(f"{name}_90_percent_of_resamples", f"{low:.3f} to {high:.3f}", "probability")
        limit = policy.operating_point.max_threshold_spread
        evidence.check(f"{name}_spread", float(high - low), limit=limit, unit="probability", n=RESAMPLES,
                       clause="operating_point.max_threshold_spread")  # fmt: skip
    caption = "Thresholds over bootstrap resamples of the calibration set; the contract's values are the dashed lines."
    evidence.figure("threshold_stability", figures.threshold_stability(values, policy), caption)
