"""Parity metrics against numbers worked out by hand; what is missing or not finite fails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecdd.contract.loading import load_contract
from ecdd.parity.float_vs_tflite import label_of, probability_parity
from ecdd.parity.layer_bisecting import LayerDifference, _same_shape, compare_layers, first_exceeding
from ecdd.parity.layer_outputs import GraphStep
from ecdd.parity.output_pairs import output_metrics
from ecdd.parity.parity_metric import ParityError, ParityLimits, metric, overall, spearman
from ecdd.parity.patch_map_parity import patch_parity
from ecdd.parity.pooled_logit_parity import pooled_parity
from ecdd.parity.runtime_invariance import invariance

POLICY = load_contract().policy
EXACT = ParityLimits.exact(POLICY)
FLOATS, INTEGERS = (ParityLimits.quantised(POLICY, integers=kind) for kind in (False, True))
MAP = np.array([[[0.0, 1.0], [2.0, 3.0]]])


def test_patch_numbers_by_hand() -> None:
    other = MAP + np.array([[[0.0, 0.5], [0.0, -1.5]]])  # 3 becomes 1.5, and 2 is now the largest
    found = patch_parity(MAP, other)
    spread = math.sqrt(1.25)
    assert (found.n, found.not_finite, found.worst) == (1, 0, 0)
    assert found.max_difference == 1.5
    assert found.mean_difference == 0.5
    assert found.bias == -0.25
    assert found.spread == pytest.approx(spread)
    assert found.relative == pytest.approx(1.5 / spread)
    assert found.relative_mean == pytest.approx(0.5 / spread)
    assert found.argmax_stable == 0.0
    assert found.argmax_loss == pytest.approx(1 / spread), "the reference says 2 where its largest is 3"
    np.testing.assert_array_equal(found.by_cell, [[0.0, 0.5], [0.0, 1.5]])


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_fails(broken: float) -> None:
    maps = np.repeat(MAP, 3, axis=0)
    other = maps.copy()
    other[1, 0, 0] = broken
    found = patch_parity(maps, other)
    assert (found.not_finite, found.worst) == (1, 1)
    assert overall(found.metrics(EXACT)) == "fail"
    assert overall(pooled_parity(np.zeros(3), np.array([0.0, broken, 0.0])).metrics(EXACT)) == "fail"


def test_nothing_compared_fails() -> None:
    assert overall(patch_parity(MAP[:0], MAP[:0]).metrics(EXACT)) == "fail"
    assert overall(pooled_parity(np.zeros(0), np.zeros(0)).metrics(EXACT)) == "fail"
    assert overall(probability_parity(np.zeros(0), np.zeros(0), (0.2, 0.8)).metrics(EXACT)) == "fail"
    assert overall([]) == "fail"
    assert overall([metric("a", 1.0, "")]) == "fail", "a number without a limit proves nothing"


def test_a_flat_map_fails_even_when_it_is_equal() -> None:
    assert overall(patch_parity(np.ones((2, 3, 3)), np.ones((2, 3, 3))).metrics(EXACT)) == "fail"


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ParityError, match=r"the reference has shape \(1, 2, 2\), the candidate \(1, 2, 3\)"):
        patch_parity(MAP, np.zeros((1, 2, 3)))
    with pytest.raises(ParityError, match="pooled logits"):
        pooled_parity(np.zeros((2, 2)), np.zeros((2, 2)))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 6))
def test_moved_maps_are_seen_under_all_limits(seed: int, rows: int, cols: int) -> None:
    maps = np.random.default_rng(seed).normal(size=(2, rows, cols))
    wrong = [np.roll(maps, 1, axis=2), np.roll(maps, 1, axis=1), maps[:, ::-1], -maps]
    if rows == cols:
        wrong.append(maps.transpose(0, 2, 1))
    for other in wrong:
        for limits in (EXACT, FLOATS, INTEGERS):
            assert overall(patch_parity(maps, other).metrics(limits)) == "fail"
    assert overall(patch_parity(maps, maps).metrics(EXACT)) == "pass"


def test_one_cell_that_moved_is_held_in_float_and_reported_in_integers() -> None:
    """An edge of more than 127 levels: what 8 bits cannot hold, in one cell of 961."""
    maps = np.random.default_rng(0).normal(size=(3, 31, 31))
    other = maps.copy()
    other[1, 3, 4] -= 2.0
    found = patch_parity(maps, other)
    assert overall(found.metrics(FLOATS)) == "fail"
    assert overall(found.metrics(INTEGERS)) == "pass"


def test_labels_at_the_thresholds_themselves() -> None:
    band = (0.25, 0.75)
    below, above = np.nextafter(0.75, 0), np.nextafter(0.25, 1)
    assert [label_of(p, band) for p in (0.25, above, below, 0.75)] == ["real", "abstain", "abstain", "fake"]


def test_flips_near_and_distinct_by_hand() -> None:
    one, other = np.array([0.10, 0.24, 0.50, 0.76, 0.90]), np.array([0.10, 0.26, 0.50, 0.74, 0.90])
    found = probability_parity(one, other, (0.25, 0.75))
    assert found.flips is not None
    assert [(flip.sample, flip.was, flip.became) for flip in found.flips] == [
        (1, "real", "abstain"),
        (3, "fake", "abstain"),
    ]
    assert found.flip_share == 0.4
    assert found.near == 2, "only those could flip"
    assert found.max_difference == pytest.approx(0.02)
    steps = np.round(one * 2) / 2
    coarse = probability_parity(one, steps)
    assert coarse.distinct == (5, 3)
    values = {one.name: one.value for one in coarse.metrics(None)}
    assert (values["probability.distinct_reference"], values["probability.distinct_candidate"]) == (5, 3)


@pytest.mark.parametrize(("changed", "shown"), [(0, ""), (3, "a, b, c"), (4, "a, b, c and 1 more")])
def test_three_decisions_that_changed_are_named(changed: int, shown: str) -> None:
    one, other = np.full(5, 0.9), np.where(np.arange(5) < changed, 0.5, 0.9)
    rows = {row.name: row for row in probability_parity(one, other, (0.25, 0.75)).metrics(None, tuple("abcde"))}
    assert rows["probability.decision_flips"].worst == shown


def test_each_side_decides_by_its_own_thresholds() -> None:
    p = np.array([0.70])
    assert probability_parity(p, p, (0.2, 0.75), (0.2, 0.65)).flips, "recalibration moved the threshold over it"
    assert not probability_parity(p, p, (0.2, 0.75)).flips


@pytest.mark.parametrize(
    ("values", "band", "said"),
    [
        ([2.0], None, r"P\(fake\) is in \[0, 1\]"),
        ([0.5], (0.8, 0.2), "0 < t_real < t_fake < 1"),
        ([0.5], (0.0, 0.5), "0 < t_real < t_fake < 1"),
    ],
    ids=["a_logit", "unordered", "zero"],
)
def test_what_is_no_probability_is_refused(values: list[float], band: tuple[float, float] | None, said: str) -> None:
    with pytest.raises(ParityError, match=said):
        probability_parity(np.array(values), np.array(values), band)


def test_rank_correlation() -> None:
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 25])) == pytest.approx(0.8)
    assert math.isnan(spearman(np.zeros(4), np.arange(4.0))), "a constant says nothing of ranks"
    assert math.isnan(spearman(np.zeros(1), np.zeros(1)))


def test_invariance_is_of_every_byte() -> None:
    first = {"map": np.array([[0.0], [1.0]], np.float32)}
    signed = {"map": np.array([[-0.0], [1.0]], np.float32)}
    (row,) = invariance({"pinned": first, "other": signed}, "pinned")
    assert (row.identical, row.differing, row.max_difference) == (False, (0,), 0.0)
    (row,) = invariance({"pinned": first, "same": {"map": first["map"].copy()}}, "pinned")
    assert row.identical
    with pytest.raises(ParityError, match="nothing to compare"):
        invariance({"pinned": first}, "pinned")
    with pytest.raises(ParityError, match="outputs are"):
        invariance({"pinned": first, "other": {"map": first["map"].astype(np.float64)}}, "pinned")


def _layer(name: str, relative: float, factors: tuple[float, float] | None = None) -> LayerDifference:
    return LayerDifference(name, name, "Conv", "name", (2, 2, 1), relative, 1.0, relative, relative, factors, 0.01)


def test_one_number_a_picture_is_no_layer() -> None:
    one, two = {"a": np.zeros(1), "b": np.zeros(2)}, {"c": np.ones(1), "d": np.ones(2), "e": np.ones((1, 2))}
    assert _same_shape("b", "d", one, two)
    assert not _same_shape("a", "c", one, two)
    assert not _same_shape("b", "e", one, two)
    assert not _same_shape("b", "none", one, two)


@dataclass
class _Graph:
    """Convolutions with known outputs, in their order."""

    values: dict[str, np.ndarray]
    changed: float = 0.0

    @property
    def steps(self) -> tuple[GraphStep, ...]:
        return tuple(GraphStep("Conv", (), name) for name in self.values)

    def run(self, _tensor: np.ndarray) -> dict[str, np.ndarray]:
        return self.values


def test_layers_behind_one_that_a_file_lacks_keep_their_partners() -> None:
    rng = np.random.default_rng(5)
    first, more, last = (rng.normal(size=(side, side, 2)).astype(np.float32) for side in (6, 4, 3))
    reference, candidate = _Graph({"a": first, "b": more, "c": last}), _Graph({"x": first, "y": last})
    found = compare_layers(reference, candidate, [first], 0.01)
    assert [(one.name, one.partner, one.max_difference) for one in found.layers] == [("a", "x", 0), ("c", "y", 0)]
    assert found.unmatched == (("b",), ())


def test_a_factor_of_each_channel_is_no_defect() -> None:
    """Converters move it into the next layer; a channel of zeros says nothing of its own."""
    values = np.random.default_rng(6).normal(size=(5, 5, 3)) * (1, 1, 0)
    times = {"a": values * (2, 3, 1)}
    (layer,) = compare_layers(_Graph({"a": values}), _Graph(times), [values], 0.01).layers
    assert layer.factors == pytest.approx((2, 3))
    assert not layer.exceeds
    times["a"][0, 0, 0] += 1
    (layer,) = compare_layers(_Graph({"a": values}), _Graph(times), [values], 0.01).layers
    assert layer.exceeds


def test_the_first_layer_above_its_budget() -> None:
    """Each is looked at: a clipping layer can hide what went wrong before it, so that halving would miss it."""
    hidden = [_layer("a", 0.001), _layer("b", 0.5), _layer("c", 0.002), _layer("d", 0.9)]
    found = first_exceeding(hidden)
    assert found is not None
    assert found.name == "b"
    assert first_exceeding(hidden[:1]) is None
    moved = first_exceeding([_layer("a", 0.5, (2.0, 3.0)), _layer("b", math.nan)])
    assert moved is not None
    assert moved.name == "b", "a factor that the next layer takes back is no defect; NaN is"


@pytest.mark.parametrize("first", [True, False])
def test_an_output_with_channels_first_equals_one_with_channels_last(first: bool) -> None:
    values = np.random.default_rng(3).normal(size=(2, 4, 5, 3)).astype(np.float32)
    pair = (values, np.moveaxis(values, -1, 1))
    reference, candidate = pair[::-1] if first else pair
    found = output_metrics(("a", "b"), reference, candidate, None, ["x", "y"], "")
    assert [one.value for one in found] == [0.0, 0.0]
