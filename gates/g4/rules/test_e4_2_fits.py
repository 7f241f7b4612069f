"""Fitting of calibration and thresholds on planted data (supports E4.2 and E4.4)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from ecdd.calibration.binomial_bounds import allowed_errors, clopper_pearson_upper
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibrators import fit_calibrator
from ecdd.calibration.metrics import (
    MetricError,
    auc,
    bootstrap_interval,
    brier,
    sigmoid,
)
from ecdd.calibration.operating_point import choose_thresholds
from ecdd.contract.model_sections import OperatingPoint
from ecdd.inference.calibration import UNCALIBRATED

pytestmark = pytest.mark.experiment("E4.2", rules=True)


def policy(max_fpr: float = 0.05, max_fnr: float = 0.1, abstain: float = 0.3) -> OperatingPoint:
    return OperatingPoint(
        max_fpr=max_fpr,
        max_fnr=max_fnr,
        confidence=0.95,
        max_abstain_rate=abstain,
        max_threshold_spread=0.25,
        t_real=0.3,
        t_fake=0.7,
        abstain_action="manual_review",
        unseen_max_fpr=0.1,
        unseen_max_fnr=0.2,
        unseen_max_abstain_rate=0.5,
    )


def planted(temperature: float, n: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true probabilities are sigmoid(logit / temperature)."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, n)
    return true * temperature, (rng.random(n) < sigmoid(true)).astype(np.int64)


def test_temperature_that_does_not_help_is_refused() -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(0, 0.3, 400), (rng.random(400) < 0.5).astype(np.int64)
    logits = logits * 0.02  # already as unsure as it should be
    fit = fit_calibrator("temperature", logits, labels)
    assert fit.applied == (fit.fitted if fit.accepted else UNCALIBRATED)
    assert fit.accepted == (fit.nll_after < fit.nll_before and fit.ece_after < fit.ece_before)
    well, truth = planted(1.0, n=300, seed=9)
    refused = fit_calibrator("temperature", well, truth)
    assert not refused.accepted
    assert refused.applied == UNCALIBRATED
    assert "refused" in refused.reason


def test_too_small_a_class_raises() -> None:
    with pytest.raises(CalibrationError, match="one class only"):
        fit_calibrator("temperature", np.array([-1.0, -0.5, 0.2, 1.0]), np.array([0, 0, 0, 1]), folds=4)


def test_scores_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(MetricError, match="not finite"):
        auc(np.array([0.0, np.nan]), np.array([0, 1]))
    with pytest.raises(MetricError, match="both 0"):
        auc(np.array([0.0, 1.0]), np.array([1, 1]))
    with pytest.raises(MetricError, match="were logits passed"):
        brier(np.array([-3.0, 4.0]), np.array([0, 1]))


def test_auc_counts_pairs_and_ties() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    scores, labels, weights = rng.integers(0, 9, 200) * 1.0, rng.integers(0, 2, 200), rng.random(200)
    assert auc(scores, labels, weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert auc(np.ones(4), np.array([0, 1, 0, 1])) == 0.5


def test_bootstrap_draws_groups_together() -> None:
    labels = np.repeat([0, 1], 50)
    scores = np.random.default_rng(4).normal(size=100) + labels
    low, high = bootstrap_interval(lambda k: auc(scores[k], labels[k]), labels, resamples=300)
    assert low < auc(scores, labels) < high
    groups = np.repeat(np.arange(20), 5)
    wide = bootstrap_interval(lambda k: float(labels[k].mean()), labels, groups, resamples=50)
    assert wide == (0.5, 0.5)


@pytest.mark.parametrize(("n", "errors"), [(58, -1), (59, 0), (92, 0), (93, 1), (124, 2)])
def test_allowed_errors_by_hand(n: int, errors: int) -> None:
    assert allowed_errors(n, 0.05, 0.95) == errors
    upper = clopper_pearson_upper(max(errors, 0), n, 0.95)
    assert binom.cdf(max(errors, 0), n, upper) == pytest.approx(0.05, abs=1e-9)


def test_threshold_is_the_smallest_that_meets_the_bound() -> None:
    rng = np.random.default_rng(5)
    real, fake = rng.beta(2, 8, 200), rng.beta(8, 2, 200)
    p, y = np.concatenate([real, fake]), np.repeat([0, 1], 200)
    chosen = choose_thresholds(p, y, policy())
    assert chosen.met == {"max_fpr": True, "max_fnr": True, "max_abstain_rate": True}
    assert chosen.false_positives == allowed_errors(200, 0.05, 0.95)
    assert clopper_pearson_upper(chosen.false_positives + 1, 200, 0.95) > 0.05
    assert chosen.t_real < chosen.t_fake


def test_what_cannot_be_met_is_said_and_fpr_is_kept() -> None:
    rng = np.random.default_rng(7)
    p, y = rng.random(160), np.repeat([0, 1], 80)
    chosen = choose_thresholds(p, y, policy())
    assert chosen.met["max_fpr"]
    assert not chosen.met["max_abstain_rate"]
    assert any("max_abstain_rate" in note for note in chosen.notes)
    few = choose_thresholds(p[60:], y[60:], policy())
    assert not few.met["max_fpr"]
    assert any("cannot be shown" in note for note in few.notes)
    assert few.false_positives == 0


def test_saturated_scores_keep_an_ordered_band() -> None:
    p = np.array([1.0] * 70 + [0.0] * 70)
    chosen = choose_thresholds(p, np.repeat([0, 1], 70), policy())
    assert 0 < chosen.t_real < chosen.t_fake < 1
    assert not chosen.met["max_fpr"]
