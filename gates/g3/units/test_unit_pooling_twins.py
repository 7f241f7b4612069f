"""Pooling in numpy and in torch: the same numbers, and the properties that every rule must have."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from ecdd.contract.loading import load_contract
from ecdd.contract.model_sections import Pooling, PoolingRule
from ecdd.inference import pooling
from ecdd.models import pooling as twin

ROOT = Path(__file__).resolve().parents[3]
POLICY = load_contract(ROOT / "contracts" / "policy_contract.yaml").policy.pooling
RULES = tuple(rule for rule in get_args(PoolingRule) if rule != "none")
LOGITS = st.floats(-60, 60, width=32)
MAPS = arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12), elements=LOGITS)
RATIOS = st.sampled_from([0.01, 0.02, 0.05, 0.07, 0.1, 0.5, 1.0])

Map = NDArray[np.float32]


def policy(rule: str, ratio: float = 0.1, trim: float = 0.1, temperature: float = 2.0) -> Pooling:
    values = {"rule": rule, "top_k_ratio": ratio, "trim_fraction": trim, "attention_temperature": temperature}
    return POLICY.model_copy(update=values)


def scale(*maps: Map) -> float:
    return max(1.0, *(float(np.abs(m).max()) for m in maps))


@pytest.mark.parametrize("rule", RULES)
@given(patch_map=MAPS, ratio=RATIOS, trim=st.sampled_from([0.0, 0.07, 0.25, 0.49]), temperature=st.floats(0.05, 50))
def test_both_twins_give_one_number(rule: str, patch_map: Map, ratio: float, trim: float, temperature: float) -> None:
    settings = policy(rule, ratio, trim, temperature)
    ours, theirs = pooling.pool(patch_map, settings), twin.pool(torch.from_numpy(patch_map)[None], settings)
    assert theirs.dtype == torch.float32
    assert theirs.shape == (1,)
    assert theirs.item() == pytest.approx(ours, abs=1e-6 * scale(patch_map))


@pytest.mark.parametrize("rule", RULES)
@given(patch_map=MAPS, seed=st.integers(0, 2**31))
def test_the_order_of_cells_does_not_matter(rule: str, patch_map: Map, seed: int) -> None:
    flat = patch_map.ravel()
    shuffled = np.random.default_rng(seed).permutation(flat).reshape(patch_map.shape)
    assert pooling.pool(shuffled, policy(rule)) == pytest.approx(
        pooling.pool(patch_map, policy(rule)), abs=1e-5 * scale(patch_map)
    )


@pytest.mark.parametrize("rule", RULES)
@given(patch_map=MAPS, shift=st.floats(-20, 20, width=32))
def test_a_shift_of_all_cells_shifts_the_pooled_logit(rule: str, patch_map: Map, shift: float) -> None:
    moved = (patch_map + np.float32(shift)).astype(np.float32)
    expected = pooling.pool(patch_map, policy(rule)) + shift
    # a weight of attention is as exact as a logit in float32, divided by the temperature
    assert pooling.pool(moved, policy(rule)) == pytest.approx(expected, abs=1e-4 * scale(patch_map, moved))


@pytest.mark.parametrize("rule", ["mean", "top_k", "trimmed_mean"])
@given(patch_map=MAPS, raised=st.floats(0, 20, width=32), seed=st.integers(0, 2**31))
def test_a_cell_that_rises_never_lowers_the_pooled_logit(rule: str, patch_map: Map, raised: float, seed: int) -> None:
    higher = patch_map.copy()
    rng = np.random.default_rng(seed)
    higher[rng.integers(patch_map.shape[0]), rng.integers(patch_map.shape[1])] += np.float32(raised)
    assert pooling.pool(higher, policy(rule)) >= pooling.pool(patch_map, policy(rule)) - 1e-5 * scale(higher)


def test_attention_is_not_monotone_and_says_so() -> None:
    """A low cell that rises takes weight from the highest: the pooled logit may fall. Known, and no defect."""
    low = np.array([[0.0, 10.0]], np.float32)
    higher = np.array([[5.0, 10.0]], np.float32)
    settings = policy("attention", temperature=5.0)
    assert pooling.pool(higher, settings) < pooling.pool(low, settings)


@given(patch_map=MAPS, noise=st.floats(-60, 60, width=32))
def test_one_noisy_cell_moves_a_rule_by_no_more_than_its_bound(patch_map: Map, noise: float) -> None:
    noisy = patch_map.copy()
    noisy[0, 0] = noise
    cells, change, slack = patch_map.size, abs(float(noise) - float(patch_map[0, 0])), 1e-4 * scale(patch_map, noisy)

    def moved(settings: Pooling) -> float:
        return abs(pooling.pool(noisy, settings) - pooling.pool(patch_map, settings))

    assert moved(policy("mean")) == pytest.approx(change / cells, abs=slack)
    assert moved(policy("top_k", 0.1)) <= change / pooling.top_k_count(0.1, cells) + slack
    trimmed = policy("trimmed_mean", trim=0.25)
    assert moved(trimmed) <= change / (cells - 2 * pooling.trimmed_count(0.25, cells)) + slack


@given(patch_map=MAPS)
def test_attention_goes_from_the_mean_to_the_maximum(patch_map: Map) -> None:
    bounds = pooling.pool(patch_map, policy("mean")), float(patch_map.max())
    for temperature in (0.05, 1.0, 100.0):
        value = pooling.pool(patch_map, policy("attention", temperature=temperature))
        assert bounds[0] - 1e-4 * scale(patch_map) <= value <= bounds[1] + 1e-4 * scale(patch_map)


def test_counts_are_those_of_the_written_ratio() -> None:
    assert [pooling.top_k_count(ratio, 961) for ratio in (0.01, 0.02, 0.05, 0.1, 1.0)] == [10, 20, 49, 97, 961]
    assert pooling.top_k_count(0.07, 100) == 7
    assert pooling.top_k_count(1e-9, 961) == 1
    assert pooling.trimmed_count(0.29, 100) == 29


def test_of_equal_logits_the_lowest_index_is_taken_in_both_twins() -> None:
    values = torch.tensor([[[1.0, 2.0, 2.0, 2.0, 0.0]]], requires_grad=True)
    twin.pool(values, policy("top_k", 0.4)).sum().backward()
    assert values.grad is not None
    assert np.flatnonzero(values.grad.numpy()).tolist() == [1, 2]
    assert pooling.top_k_indices(values.detach().numpy().ravel(), 0.4).tolist() == [1, 2]


@pytest.mark.parametrize("rule", RULES)
def test_gradients_reach_cells_and_add_up_to_one(rule: str) -> None:
    maps = torch.randn(2, 31, 31, generator=torch.Generator().manual_seed(0)).requires_grad_()
    twin.pool(maps, policy(rule)).sum().backward()
    assert maps.grad is not None
    assert maps.grad.sum().item() == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize("values", [[1e30, -1e30], [0.0, 0.0], [88.0, 89.0], [-1e30, -1e30]])
def test_attention_weights_are_finite_and_add_up_to_one(values: list[float]) -> None:
    for temperature in (0.01, 1.0, 100.0):
        row = np.array(values, np.float32)
        for weights in (
            pooling.attention_weights(row, temperature),
            twin.attention_weights(torch.from_numpy(row)[None], temperature)[0].numpy(),
        ):
            assert np.isfinite(weights).all()
            assert weights.sum() == pytest.approx(1.0, abs=1e-6)
