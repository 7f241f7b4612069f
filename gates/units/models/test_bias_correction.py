"""What rounding adds to a layer's outputs on average is taken out of its bias, and of nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="extra `train` is not installed")

from ecdd.export.bias_correction import bias_corrected
from ecdd.export.folding import IMAGE, INTEGERS_FROM, FoldedConv, FoldedNetwork, FoldedSum, fold
from ecdd.models.lite import BLOCKS, Lite
from gates.support.seeded_networks import seeded_student

SIDE, CHANNELS = 16, 3


def rounded(kernel: np.ndarray) -> np.ndarray:
    """One channel's weights in 8 bits."""
    scale = np.abs(kernel).max() / 127
    return np.round(kernel / scale) * scale


@pytest.fixture
def pictures() -> np.ndarray:
    """Bright ones: a kernel that cancels sees nearly nothing in them."""
    return np.random.default_rng(0).uniform(5.0, 6.0, (8, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def network() -> FoldedNetwork:
    """A depthwise layer without padding, its sum with a part of the picture, and a layer that stays float."""
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, CHANNELS, 1))
    kernel -= kernel.mean(axis=(0, 1), keepdims=True)
    head = FoldedConv("head", "both", np.ones((1, 1, CHANNELS, 1)), np.zeros(1), relu=False)
    steps = (
        FoldedConv("spread", IMAGE, kernel, np.zeros(CHANNELS), relu=False, depthwise=True),
        FoldedSum("both", "spread", IMAGE, crop=2, relu=False),
        head,
    )
    return FoldedNetwork("made", npr=False, steps=steps, model=seeded_student(0))


def test_the_mean_error_of_a_rounded_layer_is_gone(network: FoldedNetwork, pictures: np.ndarray) -> None:
    found = bias_corrected(network, pictures, ("head",)).steps[0]
    layer = network.steps[0]
    assert isinstance(found, FoldedConv)
    assert isinstance(layer, FoldedConv)
    assert found.kernel is layer.kernel
    off = np.stack([layer.kernel[..., k, 0] - rounded(layer.kernel[..., k, 0]) for k in range(CHANNELS)])
    windows = np.lib.stride_tricks.sliding_window_view(pictures.astype(np.float64), (3, 3), (1, 2))
    errors = np.einsum("nyxkij,kij->k", windows, off) / windows[..., 0, 0, 0].size
    assert np.abs(errors).max() > 1e-3, "without it there is something to correct"
    assert found.bias == pytest.approx(errors, abs=1e-4)


def test_layers_that_stay_float_stay_as_they_are(network: FoldedNetwork, pictures: np.ndarray) -> None:
    assert bias_corrected(network, pictures, ("head",)).steps[2] is network.steps[2]
    whole = bias_corrected(network, pictures, ("spread", "head"))
    assert whole.steps == network.steps
    assert dataclasses.replace(whole, steps=()) == dataclasses.replace(network, steps=())


def test_lite_keeps_its_heads_and_first_blocks_in_float() -> None:
    folded = fold(Lite().eval())
    integers = [step.name for step in folded.steps if step.name not in folded.islands]
    assert {name.split("_")[0] for name in integers} == {f"block{depth}" for depth in range(INTEGERS_FROM, len(BLOCKS))}
