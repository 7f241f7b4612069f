"""What a training minimises: cell shares, masked cells, distance to a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ecdd.bundle import load_bundle
from ecdd.training.augmentation import augment
from ecdd.training.config import DistilSettings, load_config
from ecdd.training.losses import cell_shares, distillation_loss, masked_cell_loss, picture_loss, training_loss

ROOT = Path(__file__).resolve().parents[3]
POLICY = load_bundle("tiny").contract.policy
CONFIG = load_config(ROOT / "configs" / "student.yaml")
MSE = DistilSettings(loss="mse", weight=1.0, first_stage_epochs=1)
KL = DistilSettings(loss="kl", weight=1.0, temperature=2.0, first_stage_epochs=1)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cell_shares_are_the_means_of_the_cells_boxes() -> None:
    mask = torch.zeros(1, 256, 256)
    mask[0, 16:25, 40:49] = 1.0
    shares = cell_shares(mask, 9, 8)
    assert shares.shape == (1, 31, 31)
    assert shares[0, 2, 5] == 1.0
    assert shares[0, 2, 4] == pytest.approx(9 / 81)
    assert shares[0, 1, 4] == pytest.approx(1 / 81)
    assert shares.sum() == pytest.approx(1 + 4 * 9 / 81 + 4 / 81)


def test_masked_cells_pull_forged_cells_up_and_whole_ones_down_and_leave_the_rest() -> None:
    maps = torch.zeros(2, 2, 2, requires_grad=True)
    shares = torch.tensor([[[1.0, 0.2], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    masked_cell_loss(maps, shares, torch.tensor([True, False])).backward()
    assert maps.grad is not None
    assert maps.grad[0, 0, 0] < 0
    assert maps.grad[0, 0, 1] == 0
    assert (maps.grad[0, 1] > 0).all()
    assert (maps.grad[1] == 0).all()
    # both kinds of cells weigh alike, however many there are
    assert maps.grad[0, 0, 0] == pytest.approx(-maps.grad[0, 1].sum().item())


def test_without_a_known_cell_the_masked_loss_is_zero_and_has_a_gradient() -> None:
    maps = noise(1, 2, 3, 3).requires_grad_()
    loss = masked_cell_loss(maps, torch.ones(2, 3, 3), torch.tensor([False, False]))
    loss.backward()
    assert loss == 0
    assert maps.grad is not None


@pytest.mark.parametrize("settings", [MSE, KL], ids=["mse", "kl"])
def test_distance_to_a_teacher_is_zero_only_at_the_teacher_and_points_to_it(settings: DistilSettings) -> None:
    teacher = noise(2, 3, 5, 5)
    assert distillation_loss(teacher.clone(), teacher, settings) == pytest.approx(0, abs=1e-6)
    maps = (teacher + 0.5).requires_grad_()
    loss = distillation_loss(maps, teacher, settings)
    loss.backward()
    assert loss > 0.01
    assert maps.grad is not None
    assert (maps.grad > 0).all()


def test_a_careful_teacher_is_followed_as_closely_as_a_loud_one() -> None:
    teacher, maps = noise(2, 3, 5, 5), noise(3, 3, 5, 5)
    loud = distillation_loss(maps, teacher, MSE).item()
    assert distillation_loss(0.01 * maps, 0.01 * teacher, MSE).item() == pytest.approx(loud, rel=1e-4)
    assert distillation_loss(torch.full_like(teacher, teacher.mean().item()), teacher, MSE).item() == pytest.approx(1)


def test_kl_is_the_divergence_of_two_coins() -> None:
    p, q, t = 0.8, 0.3, KL.temperature
    teacher, maps = (torch.tensor([[[t * np.log(x / (1 - x))]]], dtype=torch.float32) for x in (p, q))
    wanted = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))) * t**2
    assert distillation_loss(maps, teacher, KL).item() == pytest.approx(wanted, rel=1e-5)


def test_kl_of_extreme_logits_is_finite() -> None:
    maps = torch.full((1, 1, 1), -1e4, requires_grad=True)
    loss = distillation_loss(maps, torch.full((1, 1, 1), 1e4), KL)
    loss.backward()
    assert torch.isfinite(loss)
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_the_first_stage_follows_the_teacher_whatever_the_labels_say() -> None:
    maps, teacher, masks = noise(3, 4, 15, 15), noise(4, 4, 15, 15), (torch.zeros(4, 128, 128), torch.ones(4).bool())
    ones, zeros = torch.ones(4), torch.zeros(4)

    def total(labels: torch.Tensor, *, first: bool) -> float:
        settings = (CONFIG.optimise, MSE)
        return training_loss(maps, labels, masks, teacher, settings, POLICY, first_stage=first).item()

    wanted = (((maps - teacher) ** 2).mean() / teacher.var(correction=0)).item()
    assert total(ones, first=True) == total(zeros, first=True) == pytest.approx(wanted)
    assert total(ones, first=False) != total(zeros, first=False)


def test_picture_loss_reads_the_pooled_logit() -> None:
    mean = POLICY.pooling.model_copy(update={"rule": "mean"})
    maps = torch.tensor([[[4.0, -4.0]], [[1.0, 3.0]]])
    wanted = (np.log(2) + np.log1p(np.exp(-2.0))) / 2
    assert picture_loss(maps, torch.tensor([1.0, 1.0]), 0.0, mean).item() == pytest.approx(wanted)


def test_augmentation_is_seeded_turns_the_mask_and_keeps_the_shape() -> None:
    assert CONFIG.augment is not None
    part = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :10] = 255
    flipped = 0
    for seed in range(20):
        pairs = [
            augment(part, mask, CONFIG.augment, POLICY.pixel_pipeline, np.random.default_rng(seed)) for _ in range(2)
        ]
        assert (pairs[0][0] == pairs[1][0]).all()
        assert pairs[0][0].shape == part.shape
        assert pairs[0][0].dtype == np.uint8
        turned = pairs[0][1]
        assert turned is not None
        assert (turned == mask).all() or (turned == mask[:, ::-1]).all()
        flipped += int(turned[0, -1] == 255)
    assert 3 <= flipped <= 17


def test_picture_loss_follows_the_contracts_rule() -> None:
    maps = torch.tensor([[[4.0, -4.0, -4.0, -4.0]]])
    top = POLICY.pooling.model_copy(update={"rule": "top_k", "top_k_ratio": 0.25})
    assert picture_loss(maps, torch.ones(1), 0.0, top).item() == pytest.approx(np.log1p(np.exp(-4.0)))
