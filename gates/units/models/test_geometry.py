"""The student's patch grid and operators; which pixels reach which cell is proven by E3.2."""

from __future__ import annotations

import pytest
import torch

from ecdd.models.gradients import apply_operator, neighbouring_pixel_residual
from ecdd.models.tiny_ladeda import PARAMETERS, TinyLaDeDa
from gates.support.seeded_networks import seeded_student


def test_has_1297_parameters_and_the_stated_maps() -> None:
    model = seeded_student(0)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS == 1297
    assert model.native_map(torch.zeros(2, 3, 256, 256)).shape == (2, 126, 126)
    assert model(torch.zeros(2, 3, 256, 256)).shape == (2, 31, 31)
    assert model(torch.zeros(1, 3, 256, 320)).shape == (1, 31, 39)


def test_map_is_the_mean_of_three_by_three_native_cells() -> None:
    model = seeded_student(3).double()
    x = torch.randn(1, 3, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    native, cells = model.native_map(x)[0], model(x)[0]
    assert torch.allclose(cells[4, 9], native[16:19, 36:39].mean(), atol=1e-12)
    assert round(31 * 31 * 9 / 126**2, 3) == 0.545  # share of the native cells that enter


def test_npr_subtracts_the_top_left_pixel_of_each_block() -> None:
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(8))
    out = neighbouring_pixel_residual(x)
    for row in range(6):
        for col in range(8):
            expected = x[..., row, col] - x[..., row // 2 * 2, col // 2 * 2]
            assert torch.equal(out[..., row, col], expected)
    with pytest.raises(ValueError, match="even sides"):
        neighbouring_pixel_residual(x[..., :5, :])


def test_operators_and_their_scale_change_the_logits() -> None:
    model = seeded_student(4)
    x = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(9))
    maps = []
    for name, scale in [("NPR", 2 / 3), ("NPR", 1.0), ("left_diag", 2 / 3), ("right_diag", 2 / 3), ("raw", 1.0)]:
        twin = TinyLaDeDa(name, scale).eval()
        twin.load_state_dict(model.state_dict(), strict=True)  # strict loading does not notice the operator
        maps.append(twin(x))
    assert torch.equal(maps[0], model(x))
    for a in range(len(maps)):
        for b in range(a):
            assert (maps[a] - maps[b]).abs().max() > 1e-2
    with pytest.raises(ValueError, match="not known"):
        TinyLaDeDa("sobel")
    assert apply_operator(x, "x_grad", 1.0).shape == x.shape
