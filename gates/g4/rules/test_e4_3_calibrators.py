"""Calibrators: what is accepted, refused and warned of, folds, and which method a pair gets that decided none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from ecdd.calibration import choosing
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibration_set_contract import JudgedSet
from ecdd.calibration.calibrators import METHODS, Method, apply, deal_folds, fit_calibrator, refuse_nonsense
from ecdd.calibration.choosing import chosen_method
from ecdd.calibration.isotonic import LEAST_PICTURES
from ecdd.calibration.logit_checks import _auc_error
from ecdd.calibration.metrics import (
    expected_calibration_error,
    reliability_curve,
    sigmoid,
)
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration
from gates.support.planted_miscalibration import planted_logits

pytestmark = pytest.mark.experiment("E4.3", rules=True)


def test_isotonic_follows_scikit_learn_s_steps() -> None:
    from sklearn.isotonic import IsotonicRegression

    x, y = planted_logits(3000, 0.5, 0.3, 3)
    p = sigmoid(apply(METHODS["isotonic"](x, y), x))
    theirs = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(x)
    assert np.abs(p - theirs).mean() < 0.02  # steps joined by lines, and shares of half a picture more
    assert (np.diff(p[np.argsort(x)]) >= 0).all()
    with pytest.raises(CalibrationError, match=f"needs {LEAST_PICTURES} pictures, got 999"):
        fit_calibrator("isotonic", x[:999], y[:999])


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_many_at_once_are_the_same_as_one_by_one(method: str) -> None:
    x, y = planted_logits(1500, 0.5, 0.3, 4)
    applied = METHODS[method](x, y)  # type: ignore[index]
    one_by_one = [applied.logit(float(v)) for v in x[:200]]
    assert apply(applied, x[:200]).tolist() == pytest.approx(one_by_one, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_a_fit_does_not_depend_on_how_a_processor_adds(method: str) -> None:
    """Sums in another order differ as those of another vector width do: in their last digits."""
    x, y = planted_logits(1500, 0.5, 0.3, 4)
    order = np.random.default_rng(4).permutation(len(x))
    noise = 1 + np.random.default_rng(5).uniform(-1, 1, len(x)) * 2.0**-51
    for again in ((x[order], y[order]), (x * noise, y)):
        assert METHODS[method](*again) == METHODS[method](x, y)  # type: ignore[index]


def test_what_a_fit_states() -> None:
    whole = AppliedCalibration(0.0123456789012, -0.5599277554096, ((-1.23456789012, 0.1), (2.0, 3.0)))
    assert whole.stated == AppliedCalibration(0.0123456789, -0.559927755, ((-1.23456789, 0.1), (2.0, 3.0)))
    assert whole.stated.stated == whole.stated


def test_expected_calibration_error_by_hand_and_by_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(5)
    p = rng.random(400) ** 2
    y = (rng.random(400) < p).astype(np.int64)
    by_hand = 0.0
    for k in range(10):
        inside = (p >= k / 10) & ((p < (k + 1) / 10) | (k == 9))
        by_hand += inside.sum() * abs(p[inside].mean() - y[inside].mean())
    assert expected_calibration_error(p, y, binning="equal_width") == pytest.approx(by_hand / 400)
    share, mean = calibration_curve(y, p, n_bins=10)
    curve = reliability_curve(p, y, binning="equal_width")
    assert [b.share_fake for b in curve] == pytest.approx(share.tolist())
    assert [b.mean_probability for b in curve] == pytest.approx(mean.tolist())
    assert all(0 <= b.low <= b.share_fake <= b.high <= 1 for b in curve)
    ends = [(b.low, b.high) for b in reliability_curve(np.array([0.1, 0.9]), np.array([0, 1]), bins=2)]
    assert [ends[0][0], ends[1][1]] == [0.0, 1.0], "no fake is a share of 0 at least, none but fakes of 1 at most"


LOGITS, LABELS = planted_logits(200, 1.0, 0.0, 6)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (LOGITS, np.zeros(200, int), "both 0"),
        (np.full(200, 1.5), LABELS, "all 200 logits are 1.5"),
        (np.where(np.arange(200) == 3, np.nan, LOGITS), LABELS, "1 of 200 scores are not finite"),
        (np.where(np.arange(200) == 3, np.inf, LOGITS), LABELS, "1 of 200 scores are not finite"),
        (-LOGITS, LABELS, "labels or score may be swapped"),
        (sigmoid(LOGITS), LABELS, "look like probabilities"),
        (np.clip(sigmoid(8 * LOGITS).round(1), 0, 1), LABELS, r"\[0, 1\]: these look like probabilities"),
        (LOGITS[:100], LABELS, "one length"),
    ],
)
def test_bad_logits_are_errors_that_say_what_was_seen(logits: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit_calibrator("temperature", logits, labels)


def test_an_area_below_a_half_by_chance_is_a_warning() -> None:
    x = np.array([-2.0, 3.0, -1.0, 0.5, 1.0, -0.5, 2.0, -3.0, 0.2, -0.1, 0.3, -0.4])
    y = np.array([1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0])
    fit = fit_calibrator("temperature", x, y, folds=2)
    assert len(fit.warnings) == 1
    assert "may be chance" in fit.warnings[0]


def test_folds_keep_groups_together_and_hold_both_classes() -> None:
    labels = np.tile([0, 0, 1], 40)
    groups = np.arange(120) // 3 * 7
    fold = deal_folds(labels, groups, 5, seed=0)
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    assert set(fold.tolist()) == set(range(5))
    assert all(set(labels[fold == k].tolist()) == {0, 1} for k in range(5))


def test_unknown_methods_are_named() -> None:
    with pytest.raises(CalibrationError, match="choose one of temperature, platt, isotonic"):
        fit_calibrator("spline", LOGITS, LABELS)  # type: ignore[arg-type]


def test_a_perfect_separation_stays_finite() -> None:
    x = np.concatenate([np.linspace(-3, -1, 60), np.linspace(1, 3, 60)])
    applied = METHODS["platt"](x, np.repeat([0, 1], 60))
    assert isinstance(applied, AppliedCalibration)
    assert 0 < applied.temperature < 1
    assert abs(applied.bias) < 0.1


def test_a_temperature_at_the_end_of_its_search_is_refused_with_what_would_do() -> None:
    """Logits that all lie far above 0 want no temperature at all: T runs to 100, and Platt's bias does it."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    logits = rng.normal(40.0, 1.0, 120) + 2 * labels
    with pytest.raises(CalibrationError, match=r"T = 100.0000 is the end of its search.*platt would give NLL 0\.[0-5]"):
        refuse_nonsense(fit_calibrator("temperature", logits, labels), logits, labels)
    refuse_nonsense(fit_calibrator("platt", logits, labels), logits, labels)


@pytest.mark.parametrize(
    ("method", "instead"), [("temperature", r"platt would give NLL 0\.\d+"), ("platt", "more or other")]
)
def test_an_optimiser_that_did_not_converge_is_refused_with_what_would_do(
    method: Method, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped after one step; of temperature alone, so that Platt scaling can be what would do."""
    whole = scipy.optimize.minimize

    def stopped(objective: Any, start: Any, **options: Any) -> Any:
        short = {"options": {"maxiter": 1}} if len(start) == 1 or method == "platt" else {}
        return whole(objective, start, **(options | short))

    monkeypatch.setattr(scipy.optimize, "minimize", stopped)
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 60)
    said = f"calibration.method {method}: .* did not converge on 120 .*; .*{instead}"
    with pytest.raises(CalibrationError, match=said):
        fit_calibrator(method, rng.normal(0, 9, 120) + 2 * labels, labels)


def test_probabilities_worse_than_a_coin_are_refused() -> None:
    """Whatever a fit says of itself: its probabilities are looked at."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 60)
    logits = rng.normal(3.0, 2.0, 120) + 2 * labels
    fit = replace(fit_calibrator("platt", logits, labels), fitted=UNCALIBRATED)
    with pytest.raises(CalibrationError, match=r"NLL \d\.\d+, a coin has 0\.6931"):
        refuse_nonsense(fit, logits, labels)


def test_small_logits_are_taken_where_somebody_says_so() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 60)
    logits = 0.4 + 0.05 * rng.normal(size=120) + 0.1 * labels
    with pytest.raises(CalibrationError, match="--small-logits"):
        fit_calibrator("platt", logits, labels)
    assert fit_calibrator("platt", logits, labels, small_logits=True).accepted


def test_the_error_of_an_auc_is_a_coin_s_for_one_pair_and_the_same_from_both_sides() -> None:
    """One fake and one real give 0 or 1, so the error is that of a coin; exchanged classes mirror it."""
    for area in (0.1, 0.3, 0.5, 0.8):
        assert _auc_error(area, 1, 1) == pytest.approx(np.sqrt(area * (1 - area)))
        assert _auc_error(area, 40, 90) == pytest.approx(_auc_error(1 - area, 90, 40))
    # two classes of the same normal scores: the variance of Mann and Whitney's statistic, (m + n + 1) / 12 m n
    assert _auc_error(0.5, 40, 60) == pytest.approx(np.sqrt(101 / (12 * 40 * 60)), rel=1e-9)


def _judged(shift: float, spread: float, scale: float) -> JudgedSet:
    """Logits of 200 reals and fakes, ``spread`` apart around ``shift``, times ``scale``."""
    rng, labels = np.random.default_rng(3), np.repeat([0, 1], 200)
    logits = scale * (rng.normal(0, 1, 400) + spread * (labels - 0.5)) + shift
    return JudgedSet(logits, labels, np.arange(400), "")


def test_of_equal_methods_the_simpler_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_losses", lambda _fit, data: np.ones(len(data.labels)))
    assert chosen_method(_judged(2.0, 1.0, 1.0), 0.95) == "temperature"


@pytest.mark.parametrize(
    ("shift", "spread", "scale", "method"),
    [
        (0.0, 1.0, 3.0, "temperature"),  # too sure, in the middle: one number mends it
        (2.0, 1.0, 1.0, "platt"),  # the middle is elsewhere: a bias is shown to be better
        (9.0, 1.0, 1.0, "platt"),  # every logit says fake: the temperature runs to the end of its search
    ],
)
def test_the_logits_decide_the_method(shift: float, spread: float, scale: float, method: str) -> None:
    assert chosen_method(_judged(shift, spread, scale), 0.95) == method
