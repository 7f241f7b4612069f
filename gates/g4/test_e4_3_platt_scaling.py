"""E4.3 Platt scaling: held-out NLL and ECE improve, or the fit is refused; overfitting on small sets is detected and
reported.

Two parameters fit a small set by heart. Fails when a planted fit is not found, when overfitting is not seen, or when
the contract's method is shown to be worse than another on held-out pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecdd.calibration import calibrators
from ecdd.calibration.bootstrap import resampled_weights
from ecdd.calibration.isotonic import LEAST_PICTURES
from gates.g4.conftest import no_logits
from gates.support.planted_miscalibration import planted_logits

RESAMPLES = 1000


@pytest.mark.experiment("E4.3")
def test_planted_slope_and_bias_are_found(evidence: Any) -> None:
    for slope, bias in ((2.0, -1.0), (0.3, 0.5)):
        fits = [
            calibrators.fit_calibrator("platt", *planted_logits(2000, slope, bias, seed)).fitted for seed in range(8)
        ]
        slopes, biases = np.mean([1 / fit.temperature for fit in fits]), np.mean([fit.bias for fit in fits])
        evidence.check(f"slope_{slope:g}_relative_error", abs(float(slopes) / slope - 1), limit=0.06, n=len(fits))
        evidence.check(f"bias_{bias:g}_error", abs(float(biases) - bias), limit=0.08, unit="logit", n=len(fits))


@pytest.mark.experiment("E4.3")
def test_overfitting_of_small_sets_is_seen(evidence: Any) -> None:
    """Out of fold less in sample: large for few pictures, small for many. Reported for both methods, by set size."""
    rows, gap = [], {}
    for n in (20, 40, 80, 160, 1000):
        row: dict[str, Any] = {"pictures": n}
        for method in ("temperature", "platt"):
            found = []
            for seed in range(30):
                logits, labels = planted_logits(n, 1.0, 0.3, 1000 + seed)
                try:
                    found.append(calibrators.fit_calibrator(method, logits, labels).overfit)
                except calibrators.CalibrationError:
                    continue
            row[f"{method}_overfit"] = float(np.mean(found)) if found else None
            gap[method, n] = row[f"{method}_overfit"]
        rows.append(row)
    evidence.table("overfit_by_set_size", rows)
    for method in ("temperature", "platt"):
        evidence.check(f"{method}_overfit_of_40", gap[method, 40], limit=gap[method, 1000], op=">", unit="nat", n=30)


@pytest.mark.experiment("E4.3")
def test_the_contract_s_method_is_not_shown_to_be_worse(evidence: Any, policy: Any, committed: Any) -> None:
    """Out-of-fold losses, picture by picture: of methods not shown to be worse the one with fewest parameters stays."""
    if committed is None:
        no_logits(evidence)
        return
    data, losses, rows = committed.judged, {}, []
    for method in ("temperature", "platt"):
        try:
            fit = calibrators.fit_calibrator(method, data.logits, data.labels, data.groups)
        except calibrators.CalibrationError as error:  # no candidate on this set; the temperature always is one
            rows.append({"method": method, "refused": str(error)})
            continue
        z = fit.out_of_fold
        losses[method] = np.logaddexp(0, z) - data.labels * z
        rows.append({"method": method, "nll": float(losses[method].mean()), "ece": fit.ece_after,
                     "overfit": fit.overfit, "parameters": calibrators.shown(fit.fitted)})  # fmt: skip
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
    evidence.check("contract_holds_the_chosen_method", int(policy.calibration.method == chosen), limit=1, op="==",
                   worst=[chosen], n=len(data.labels))  # fmt: skip
