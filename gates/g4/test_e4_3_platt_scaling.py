"""E4.3 Platt scaling: held-out NLL and ECE improve, or the fit is refused; overfitting on small sets is detected and
reported.

Two parameters fit a small set by heart. Fails when a planted fit is not found, when overfitting is not seen, or when
the contract's method is shown to be worse than another on held-out pictures.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ecdd.calibration import calibrators
from ecdd.calibration.bootstrap import resampled_weights
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibrators import Method
from ecdd.calibration.isotonic import LEAST_PICTURES
from gates.support.calibration_set import CalibrationSet
from gates.support.fixtures import Bundle, Detector, Evidence, GoldenSet, PolicyContract
from gates.support.planted_miscalibration import planted_logits

RESAMPLES = 1000
METHODS: tuple[Method, ...] = ("temperature", "platt")
SEEDS = 30  # planted sets of a size


@pytest.mark.experiment("E4.3")
def test_planted_slope_and_bias_are_found(evidence: Evidence) -> None:
    for slope, bias in ((2.0, -1.0), (0.3, 0.5)):
        sets = [planted_logits(2000, slope, bias, seed) for seed in range(8)]
        fits = [calibrators.fit_calibrator("platt", *one).fitted for one in sets]
        slopes, biases = np.mean([1 / fit.temperature for fit in fits]), np.mean([fit.bias for fit in fits])
        evidence.check(f"slope_{slope:g}_relative_error", abs(float(slopes) / slope - 1), limit=0.06, n=len(fits))
        evidence.check(f"bias_{bias:g}_error", abs(float(biases) - bias), limit=0.08, unit="logit", n=len(fits))


@pytest.mark.experiment("E4.3")
def test_overfitting_of_small_sets_is_seen(evidence: Evidence) -> None:
    """Out of fold less in sample: large for few pictures, small for many. Reported for both methods, by set size."""
    sizes = (20, 40, 80, 160, 1000)
    overfit = {method: {n: _mean_overfit(method, n) for n in sizes} for method in METHODS}
    shown = [{"pictures": n} | {f"{method}_overfit": overfit[method][n] for method in METHODS} for n in sizes]
    evidence.table("overfit_by_set_size", shown)
    for method, of in overfit.items():
        evidence.check(f"{method}_overfit_of_40", of[40], limit=of[1000], op=">", unit="nat", n=SEEDS)


def _mean_overfit(method: Method, n: int) -> float | None:
    """Over planted sets of n pictures; None where the method refuses all of them."""
    found = []
    for seed in range(SEEDS):
        with contextlib.suppress(CalibrationError):
            found.append(calibrators.fit_calibrator(method, *planted_logits(n, 1.0, 0.3, 1000 + seed)).overfit)
    return float(np.mean(found)) if found else None


@pytest.mark.experiment("E4.3")
def test_the_contract_s_method_is_not_shown_to_be_worse(
    evidence: Evidence, policy: PolicyContract, calibration_set: CalibrationSet
) -> None:
    """Out-of-fold losses, picture by picture: of methods not shown to be worse the one with fewest parameters stays."""
    data, losses = calibration_set.judged, {}
    rows: list[dict[str, object]] = []
    for method in METHODS:
        try:
            fit = calibrators.fit_calibrator(method, data.logits, data.labels, data.groups)
        except CalibrationError as error:  # no candidate on this set; the temperature always is one
            rows.append({"method": method, "refused": str(error)})
            continue
        z = fit.out_of_fold
        losses[method] = np.logaddexp(0, z) - data.labels * z
        about = {"ece": fit.ece_after, "overfit": fit.overfit, "parameters": calibrators.shown(fit.fitted)}
        rows.append({"method": method, "nll": float(losses[method].mean())} | about)
    evidence.table("methods", rows)
    if len(data.labels) < LEAST_PICTURES:
        evidence.not_tested("isotonic calibration", f"offered from {LEAST_PICTURES} pictures on")
    if "temperature" not in losses:
        evidence.check("contract_holds_the_chosen_method", None, limit=1, op="==", n=len(data.labels))
        return
    best = min(losses, key=lambda name: float(losses[name].mean()))
    difference = losses["temperature"] - losses[best]
    drawn = [float(w @ difference / w.sum()) for w in resampled_weights(data.labels, data.groups, RESAMPLES, seed=41)]
    bound = float(np.quantile(drawn, 1 - policy.operating_point.confidence))
    chosen = "temperature" if bound <= 0 else best
    evidence.measure("temperature_above_best_bound", bound, "nat")
    same = int(policy.calibration.method == chosen)
    evidence.check("contract_holds_the_chosen_method", same, limit=1, op="==", worst=[chosen], n=len(data.labels))


@pytest.mark.experiment("E4.3")
@pytest.mark.parametrize("bias", [-1.5, 0.75])
def test_slope_and_bias_reach_the_verdict(
    evidence: Evidence, bundle: Bundle, golden: GoldenSet, policy: PolicyContract, bias: float
) -> None:
    """A whole detector with a Platt calibration of a known slope and bias, held to the formula on its pooled logits."""
    record = bundle.calibration.model_copy(update={"temperature": 1.6, "bias": bias, "knots": ()})
    detector = Detector(dataclasses.replace(bundle, calibration=record), bundle.contract)
    worst, n = ("", 0.0), 0
    for item in golden.by_set("in_scope")[::3]:
        verdict = detector.predict(Path(item.path))
        if verdict.logit is None or verdict.probability is None:
            continue
        expected = 1 / (1 + np.exp(-(verdict.logit / 1.6 + bias)))
        worst, n = max(worst, (item.id, abs(verdict.probability - expected)), key=lambda pair: pair[1]), n + 1
    limit, clause = policy.calibration.tolerance_s7, "calibration.tolerance_s7"
    evidence.check("platt_probability_difference", worst[1], limit=limit, clause=clause, worst=[worst[0]], n=n)
