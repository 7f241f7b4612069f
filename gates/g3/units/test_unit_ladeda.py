"""The teacher is the public architecture: names, shapes, size, cost, numbers; reduced widths keep its geometry."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ecdd.models.checkpoint import CheckpointIdentity, save_weights
from ecdd.models.ladeda import REDUCED_WIDTH, LaDeDa9
from ecdd.models.patch_network import scaled_channels
from gates.support.public_networks import as_double, image_logit, patch_scores, public_teacher, teacher_features
from gates.support.seeded_networks import seeded_teacher

OPERATORS = [("NPR", 2 / 3), ("raw", 1.0), ("x_grad", 1.0), ("y_grad", 1.0), ("left_diag", 1.0), ("right_diag", 1.0)]


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def full() -> LaDeDa9:
    """Full width with the public names, weights from a seed: no trained network."""
    model = LaDeDa9("NPR", 2 / 3, 1.0)
    model.load_state_dict(public_teacher(3), strict=True)
    return model.eval()


def test_names_and_shapes_are_the_public_ones(full: LaDeDa9) -> None:
    public = public_teacher(0)
    assert {name: value.shape for name, value in full.state_dict().items()} == {
        name: value.shape for name, value in public.items()
    }
    assert sum(parameter.numel() for parameter in full.parameters()) == 13_641_793
    assert full.fc.weight.shape == (1, 2048)


def test_cost_at_256_pixels_is_the_stated_one(full: LaDeDa9) -> None:
    x = noise(1, 1, 3, 256, 256)
    with torch.inference_mode(), FlopCounterMode(display=False) as public:
        patch_scores(public_teacher(0), teacher_features(public_teacher(0), x))
    with torch.inference_mode(), FlopCounterMode(display=False) as ours:
        full(x)
    # the linear head of the public code included; a multiply-add counts as two
    assert public.get_total_flops() == 2 * 20_966_967_296
    # merging the first two convolutions: 64 x 3 x 9 instead of 64 x 64 x 9 at 254 x 254, and no 1x1 at 256 x 256;
    # the einsum that merges them costs 9 x 64 x 64 x 3
    saved = 254**2 * 9 * 64 * (64 - 3) + 256**2 * 3 * 64 - 9 * 64 * 64 * 3
    assert ours.get_total_flops() == 2 * (20_966_967_296 - saved)


def test_full_width_gives_the_numbers_of_the_public_code(full: LaDeDa9) -> None:
    x, state = noise(2, 2, 3, 96, 96), as_double(public_teacher(3))
    with torch.inference_mode():
        features = teacher_features(state, x.double())
        mapped, wanted = full(x), patch_scores(state, features)
        spread = float(wanted.std())
        assert mapped.shape == wanted.shape == (2, 11, 11)
        assert float((mapped - wanted).abs().max()) <= 1e-4 * spread
        assert float((full.native_logit(x) - image_logit(state, features)).abs().max()) <= 1e-4 * spread


@pytest.mark.parametrize(("name", "scale"), OPERATORS)
def test_every_operator_gives_the_numbers_of_the_public_code(full: LaDeDa9, name: str, scale: float) -> None:
    model = LaDeDa9(name, scale, 1.0)
    model.load_state_dict(full.state_dict(), strict=True)
    x, state = noise(4, 1, 3, 40, 40), as_double(public_teacher(3))
    with torch.inference_mode():
        wanted = patch_scores(state, teacher_features(state, x.double(), name))
        assert float((model.eval()(x) - wanted).abs().max()) <= 1e-4 * float(wanted.std())


@pytest.mark.parametrize("width", [REDUCED_WIDTH, 0.0625, 0.5])
def test_reduced_widths_keep_the_grid(width: float) -> None:
    model = seeded_teacher(0, width=width)
    with torch.inference_mode():
        assert model(noise(5, 1, 3, 256, 256)).shape == (1, 31, 31)
        assert model(noise(5, 1, 3, 256, 320)).shape == (1, 31, 39)
    assert model.geometry(256, 256) == LaDeDa9().geometry(256, 256)


def test_channels_are_multiples_of_four_and_exact_at_the_ends() -> None:
    assert [scaled_channels(full, 1.0) for full in (64, 128, 256, 512)] == [64, 128, 256, 512]
    assert [scaled_channels(full, REDUCED_WIDTH) for full in (64, 128, 256, 512)] == [12, 24, 48, 96]
    assert scaled_channels(64, 0.22) == 16
    assert scaled_channels(64, 0.001) == 8
    with pytest.raises(ValueError, match=r"width 0\.0 is out of range"):
        LaDeDa9(width=0.0)
    with pytest.raises(ValueError, match="width nan is out of range"):
        LaDeDa9(width=math.nan)


def test_default_reduced_width_is_stored_in_one_and_a_half_megabytes(tmp_path: Path) -> None:
    model = seeded_teacher(0)
    identity = CheckpointIdentity(
        architecture="ladeda9",
        input_operator="NPR",
        operator_scale=2 / 3,
        normalisation_mean=(0.485, 0.456, 0.406),
        normalisation_std=(0.229, 0.224, 0.225),
        pixel_scale=1 / 255,
        input_size=256,
        tensor_digest="0" * 64,
        width=REDUCED_WIDTH,
        storage="float16",
    )
    save_weights(model, identity, tmp_path / "teacher.safetensors")
    assert sum(parameter.numel() for parameter in model.parameters()) == 488_029
    assert (tmp_path / "teacher.safetensors").stat().st_size <= 1_500_000


def test_seeds_are_reproducible_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    one, two, other = seeded_teacher(1, width=0.125), seeded_teacher(1, width=0.125), seeded_teacher(2, width=0.125)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_every_weight_receives_a_gradient() -> None:
    model = seeded_teacher(3, width=0.0625).train()
    model(noise(6, 2, 3, 64, 64)).square().mean().backward()
    silent = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []
