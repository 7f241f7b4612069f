"""Exact bounds by hand, thresholds by Learn-then-Test, sample sizes, bands, and the weighted bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from ecdd.calibration.abstain_policy import band_rates, choose_t_real, count_decisions, risk_coverage
from ecdd.calibration.binomial_bounds import (
    allowed_errors,
    clopper_pearson,
    clopper_pearson_upper,
    learn_then_test,
    least_auc,
    pictures_needed,
)
from ecdd.calibration.bootstrap import calibration_intervals, resampled_weights
from ecdd.calibration.metrics import (
    auc,
    bootstrap_interval,
    brier,
    expected_calibration_error,
    negative_log_likelihood,
    sigmoid,
)
from ecdd.calibration.operating_point import choose_thresholds
from ecdd.contract.loading import load_contract
from gates.support.planted_miscalibration import planted_logits

pytestmark = pytest.mark.experiment("E4.4", rules=True)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(1, 600), st.floats(0.01, 0.5), st.floats(0.8, 0.99))
def test_allowed_errors_are_the_last_that_the_bound_permits(n: int, limit: float, confidence: float) -> None:
    errors = allowed_errors(n, limit, confidence)
    assert -1 <= errors < n
    if errors >= 0:
        assert clopper_pearson_upper(errors, n, confidence) <= limit
    if errors + 1 < n:
        assert clopper_pearson_upper(errors + 1, n, confidence) > limit


def test_two_sided_interval_by_the_rule_of_three_and_symmetry() -> None:
    low, high = clopper_pearson(0, 100, 0.95)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 100))
    low, high = clopper_pearson(30, 100, 0.95)
    mirrored = clopper_pearson(70, 100, 0.95)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(60, 300), st.integers(0, 10_000))
def test_learn_then_test_allows_as_many_errors_as_the_order_statistic(n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random(n)
    found = learn_then_test(scores, np.concatenate([scores + 1e-9, [1.0]]), 0.05, 0.95)
    assert found is not None
    assert int((scores >= found).sum()) == allowed_errors(n, 0.05, 0.95)


def test_learn_then_test_promises_nothing_without_enough_pictures() -> None:
    assert learn_then_test(np.random.default_rng(0).random(58), np.linspace(0, 1, 50), 0.05, 0.95) is None


def test_pictures_needed_suffice_and_fewer_do_not() -> None:
    assert pictures_needed(0.0, 0.05, 0.95) == 59
    assert pictures_needed(0.05, 0.05, 0.95) is None
    needed = pictures_needed(0.02, 0.05, 0.95)
    assert needed is not None
    assert clopper_pearson_upper(int(np.ceil(0.02 * needed)), needed, 0.95) <= 0.05
    assert clopper_pearson_upper(int(np.ceil(0.02 * needed / 2)), needed // 2, 0.95) > 0.05


def test_least_auc_meets_all_three_limits_in_a_simulation() -> None:
    needed = least_auc(0.05, 0.1, 0.3)
    distance = np.sqrt(2) * norm.ppf(needed)
    rng = np.random.default_rng(1)
    real, fake = rng.normal(0, 1, 400_000), rng.normal(distance, 1, 400_000)
    t_fake, t_real = np.quantile(real, 0.95), np.quantile(fake, 0.1)
    abstain = [float(((x > t_real) & (x < t_fake)).mean()) for x in (real, fake)]
    assert max(abstain) == pytest.approx(0.3, abs=0.005)
    assert least_auc(0.5, 0.5, 0.9) == 0.5


def test_band_rates_by_hand() -> None:
    p, y = np.array([0.1, 0.4, 0.9, 0.05, 0.5, 0.95]), np.array([0, 0, 0, 1, 1, 1])
    rates = band_rates(p, y, 0.2, 0.8)
    assert (rates.fpr, rates.fnr) == pytest.approx((1 / 3, 1 / 3))
    assert (rates.abstain_real, rates.abstain_fake) == pytest.approx((1 / 3, 1 / 3))
    assert (rates.coverage, rates.selective_risk) == pytest.approx((4 / 6, 0.5))
    assert (rates.selective_fpr, rates.selective_fnr) == pytest.approx((0.5, 0.5))
    coverage, risk = risk_coverage(p, y)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(2 / 6)  # 0.9 is real, 0.05 is fake; 0.5 counts as fake


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_t_real_has_least_risk_among_those_that_keep_the_abstain_limit(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], 40)
    p = sigmoid(rng.normal(2 * y - 1, 1.2))
    highest, t_fake = 0.45, 0.7
    found = choose_t_real(p, y, highest, t_fake, limit, 0.9)
    tried = [highest, *[float(v) + 1.5e-6 for v in p if v + 1.5e-6 < highest]]
    shown = {k: clopper_pearson_upper(k, 40, 0.9) <= limit for k in range(41)}
    every = [band_rates(p, y, t, t_fake) for t in tried]
    kept = [r for r in every if shown[round(40 * max(r.abstain_real, r.abstain_fake))]]
    if not kept:
        assert found == highest
        return
    now = band_rates(p, y, found, t_fake)
    assert shown[round(40 * max(now.abstain_real, now.abstain_fake))]
    assert now.selective_risk == pytest.approx(min(r.selective_risk for r in kept))


def test_one_more_error_is_taken_where_enough_more_is_decided() -> None:
    """One real or six and a fake below t_real, beside two reals and eight fakes above t_fake: 2/11 against 3/17."""
    real, fake = [0.05, 0.11, 0.12, 0.13, 0.14, 0.15, 0.8, 0.8], [0.08, *[0.9] * 8]
    p, y = np.array(real + fake), np.repeat([0, 1], [len(real), len(fake)])
    assert [band_rates(p, y, t, 0.7).selective_risk for t in (0.06, 0.2)] == pytest.approx([2 / 11, 3 / 17])
    assert choose_t_real(p, y, 0.2, 0.7, 0.9, 0.95) == 0.2


def test_a_real_that_scores_the_threshold_itself_counts_as_an_error() -> None:
    """The detector calls it fake: the bound on the FPR counts it, too."""
    rng, y = np.random.default_rng(5), np.repeat([0, 1], 300)
    p, policy = sigmoid(rng.normal(4 * y - 2, 1)), load_contract().policy.operating_point
    before = choose_thresholds(p, y, policy)
    p[np.argmax(np.where(y == 0, p, 0))] = before.t_fake
    found = choose_thresholds(p, y, policy)
    assert found.t_fake == before.t_fake
    assert found.false_positives == before.false_positives
    assert found.false_positives / 300 == pytest.approx(band_rates(p, y, found.t_real, found.t_fake).fpr)


def test_thresholds_are_told_to_six_places() -> None:
    """What a contract is given is what was measured with."""
    rng, y = np.random.default_rng(5), np.repeat([0, 1], 300)
    found = choose_thresholds(sigmoid(rng.normal(4 * y - 2, 1)), y, load_contract().policy.operating_point)
    assert 0 < found.t_real < found.t_fake < 1
    assert (found.t_real, found.t_fake) == (round(found.t_real, 6), round(found.t_fake, 6))


def test_risk_at_every_coverage_by_hand() -> None:
    """Surest first, on either side of 0.5: 0.9 (right), 0.2 (wrong), 0.4 (right), 0.55 (right)."""
    coverage, risk = risk_coverage(np.array([0.55, 0.9, 0.4, 0.2]), np.array([1, 1, 0, 1]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == [0.0, 0.5, pytest.approx(1 / 3), 0.25]


def test_abstaining_is_never_correct() -> None:
    counts = count_decisions(
        [(0, "real", ()), (1, "real", ()), (1, "abstain", ("MD-001",)), (0, "abstain", ("GR-004",))]
    )
    assert (counts.correct, counts.wrong, counts.abstained) == (1, 1, 2)
    assert counts.accuracy == 0.25
    assert counts.by_reason == {"GR-004": 1, "MD-001": 1}


def test_intervals_have_the_metrics_own_estimates_and_ties_count_half() -> None:
    x, y = planted_logits(300, 1.0, 0.2, 7)
    x = np.round(x, 1)  # many ties
    found = calibration_intervals(x, y, resamples=200)
    p = sigmoid(x)
    wanted = {"auc": auc(x, y), "nll": negative_log_likelihood(x, y), "brier": brier(p, y),
              "ece_equal_mass": expected_calibration_error(p, y),
              "ece_equal_width": expected_calibration_error(p, y, binning="equal_width")}  # fmt: skip
    for name, value in wanted.items():
        assert found[name].estimate == pytest.approx(value), name
        assert found[name].low <= found[name].high
    plain = bootstrap_interval(lambda k: auc(x[k], y[k]), y, resamples=400)
    assert (found["auc"].low, found["auc"].high) == pytest.approx(plain, abs=0.02)


def test_weights_draw_whole_groups_within_their_class() -> None:
    labels = np.repeat([0, 1], 30)
    groups = np.arange(60) // 3
    for weights in resampled_weights(labels, groups, 20, seed=0):
        assert weights.sum() == 60
        assert weights[labels == 1].sum() == 30
        assert all(len(set(weights[groups == g])) == 1 for g in range(20))
