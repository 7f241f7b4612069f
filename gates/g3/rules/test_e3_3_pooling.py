"""Pooling rules against a second computation: order, shift, monotony, ties, overflow."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ecdd.bundle import load_bundle
from ecdd.contract.model_sections import Pooling, PoolingRule
from ecdd.inference.pooling import RULES, attention_weights, pool, top_k_indices
from gates.support.pooling_study import reference_pool

pytestmark = pytest.mark.experiment("E3.3", rules=True)

POLICY = load_bundle("tiny").contract.policy
GRID, POOLING = POLICY.patch_grid, POLICY.pooling

RANKED = [name for name, rule in RULES.items() if rule.ranks is not None]
SEEDED = settings(deadline=None, max_examples=60, derandomize=True)

logits = st.floats(-50, 50, width=32)
maps = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=logits)


def pooling(rule: str, **values: Any) -> Pooling:
    return POOLING.model_copy(update={"rule": rule, **values})


def test_every_rule_of_the_contract_is_there_with_a_knob_of_it() -> None:
    assert set(RULES) == set(get_args(PoolingRule)) - {"none"}
    assert {rule.knob for rule in RULES.values()} - {""} <= set(type(POOLING).model_fields)


@pytest.mark.parametrize("rule", RULES)
@SEEDED
@given(maps, st.floats(0.01, 1), st.floats(0, 0.49), st.floats(0.1, 10))
def test_pooling_agrees_with_the_reference(
    rule: str, values: NDArray[np.float32], ratio: float, trim: float, temperature: float
) -> None:
    policy = pooling(rule, top_k_ratio=ratio, trim_fraction=trim, attention_temperature=temperature)
    assert pool(values, policy) == pytest.approx(reference_pool(values, policy), abs=2e-3, rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
@SEEDED
@given(maps, st.integers(0, 2**32 - 1))
def test_pooling_does_not_depend_on_the_order_of_cells(rule: str, values: NDArray[np.float32], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(values.ravel()).reshape(values.shape)
    assert pool(shuffled, pooling(rule)) == pytest.approx(pool(values, pooling(rule)), abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
@SEEDED
@given(maps, st.floats(-20, 20, width=32))
def test_a_shift_of_all_cells_shifts_the_pooled_logit(rule: str, values: NDArray[np.float32], shift: float) -> None:
    moved = pool(values + np.float32(shift), pooling(rule))
    assert moved == pytest.approx(pool(values, pooling(rule)) + shift, abs=1e-3)


@pytest.mark.parametrize("rule", RANKED)
@SEEDED
@given(maps, st.data())
def test_a_more_suspicious_cell_never_lowers_the_pooled_logit(
    rule: str, values: NDArray[np.float32], data: st.DataObject
) -> None:
    raised = values.copy()
    cell = data.draw(st.integers(0, values.size - 1))
    raised.flat[cell] += np.float32(data.draw(st.floats(0, 40, width=32)))
    assert pool(raised, pooling(rule)) >= pool(values, pooling(rule)) - 1e-4


@SEEDED
@given(st.floats(0, 50, width=32), st.integers(0, 960))
def test_one_noisy_patch_moves_each_rule_by_its_bound(noise: float, cell: int) -> None:
    calm = np.random.default_rng(7).normal(0, 1, (31, 31)).astype(np.float32)
    noisy = calm.copy()
    noisy.flat[cell] += np.float32(noise)
    moved = {rule: pool(noisy, pooling(rule)) - pool(calm, pooling(rule)) for rule in RANKED}
    chosen = math.ceil(POOLING.top_k_ratio * 961)
    assert moved["mean"] == pytest.approx(noise / 961, abs=1e-5)
    assert -1e-6 <= moved["top_k"] <= noise / chosen + 1e-5
    cut = math.floor(POOLING.trim_fraction * 961)
    inner = np.sort(calm.ravel())[cut : 961 - cut]
    # a trimmed mean sees an outlier at most as the value at the edge of what it keeps
    assert moved["trimmed_mean"] <= (inner[-1] - inner[0] + 0.2) / inner.size


@SEEDED
@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([0.0, 1.0, 2.0])), st.floats(0.01, 1))
def test_ties_in_top_k_go_to_the_lowest_index(values: NDArray[np.float32], ratio: float) -> None:
    count = max(1, math.ceil(ratio * values.size))
    expected = sorted(range(values.size), key=lambda index: (-values[index], index))[:count]
    assert top_k_indices(values, ratio).tolist() == expected


@SEEDED
@given(
    hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**126), 2.0**126, width=32)),
    st.floats(0.01, 100),
)
def test_attention_never_overflows(values: NDArray[np.float32], temperature: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        weights = attention_weights(values, temperature)
    assert np.isfinite(weights).all()
    assert float(weights.sum(dtype=np.float64)) == pytest.approx(1, abs=1e-5)
