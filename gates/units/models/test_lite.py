"""The network `lite`: its map, its padding, its pretrained trunk, and that its exported files are the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ecdd.contract.layer_geometry import compose, layers_of
from ecdd.contract.loading import load_contract
from ecdd.export.exported_parity import onnx_map, reference_map, tflite_map
from ecdd.export.folding import fold
from ecdd.export.onnx_export import onnx_bytes
from ecdd.export.tflite_export import tflite_bytes
from ecdd.models.architectures import build_network
from ecdd.models.lite import BLOCKS, HEADS, Lite, same_padding
from ecdd.models.pretrained import SHA256, load_pretrained
from ecdd.models.state_dicts import CheckpointError
from ecdd.specification import CONTRACT


@pytest.fixture(scope="module")
def network() -> Lite:
    """Seeded weights, with batch norms and heads that are not trivial."""
    torch.manual_seed(3)
    model = Lite()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    for head in model.heads.values():
        torch.nn.init.normal_(head.weight, 0, 0.1)
        torch.nn.init.normal_(head.bias, 0, 0.1)
    return model.eval()


def s4(count: int, side: int = 256) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, side, side, 3)).astype(np.float32)


def test_map_has_the_geometry_that_its_layers_compose_to(network: Lite) -> None:
    grid = network.geometry(256, 256)
    assert grid == compose(layers_of("lite", "raw"), 256, 256)
    assert (grid.rows, grid.cols, grid.stride) == (8, 8, 32)
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 256, 256)).shape == (2, 8, 8)
        assert network(torch.zeros(1, 3, 192, 224)).shape == (1, 6, 7)


def test_a_pixel_outside_a_cells_box_never_moves_it() -> None:
    """At a height where boxes end inside the tensor: influence is where the composed geometry says."""
    torch.manual_seed(0)
    model = Lite().eval().double()
    for head in model.heads.values():
        torch.nn.init.normal_(head.weight)
    height, width = 1024, 128
    grid = compose(layers_of("lite", "raw"), height, width)
    x = torch.randn(1, 3, height, width, dtype=torch.float64, requires_grad=True)
    row = 16
    model(x)[0, row, 2].backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    touched = torch.nonzero(x.grad.abs().sum(dim=(0, 1, 3))).flatten()
    first = row * grid.stride - grid.padding
    assert int(touched.min()) >= first
    assert int(touched.max()) <= first + grid.receptive_field - 1


def test_mean_of_the_map_is_the_sum_of_the_heads_means(network: Lite) -> None:
    x = torch.from_numpy(s4(2, 128)).permute(0, 3, 1, 2).double()
    twin = build_network("lite", "raw", 1.0).double()
    twin.load_state_dict(network.state_dict())
    twin.eval()
    with torch.inference_mode():
        whole, parts = twin(x).mean(dim=(1, 2)), twin.head_maps(x)  # type: ignore[operator]
    assert len(parts) == len(HEADS)
    assert torch.allclose(whole, sum(part.mean(dim=(1, 2, 3)) for part in parts), atol=1e-12)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(256, 3, 2), (64, 5, 2), (32, 3, 1), (16, 5, 1), (17, 3, 2)])
def test_padding_is_tensorflows_same(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert 0 <= after - before <= 1


def test_folded_norms_are_the_norms(network: Lite) -> None:
    """Kept statistics are folded into the kernel: the same numbers as convolution, then batch norm."""
    block = network.blocks[1]
    x = torch.randn(2, BLOCKS[1].inputs, 32, 32)
    with torch.inference_mode():
        plain = block.expand_norm(functional.conv2d(x, block.expand.weight))
        folded = block.expand.normed(x, block.expand_norm)
    assert torch.allclose(plain, folded, atol=1e-5)
    network.train()
    with torch.inference_mode():
        batch_statistics = block.expand.normed(x, block.expand_norm)
    network.eval()
    assert not torch.allclose(batch_statistics, folded, atol=1e-3)


def test_skipped_blocks_are_for_training_alone_and_keep_the_mean(network: Lite) -> None:
    x = torch.randn(2000, BLOCKS[2].inputs, 4, 4)
    block = network.blocks[2]
    with torch.inference_mode():
        plain = block(x)
        network.skip_blocks(0.5)
        assert block.skipped == pytest.approx(0.1)
        assert torch.equal(block(x), plain)
        block.train()
        for norm in (block.expand_norm, block.depthwise_norm, block.project_norm):
            norm.eval()
        torch.manual_seed(5)
        found = block(x)
    network.skip_blocks(0.0)
    block.eval()
    alone = (found == x).flatten(1).all(dim=1)
    assert 0.07 < float(alone.float().mean()) < 0.13
    assert torch.allclose((found - x)[~alone] * 0.9, (plain - x)[~alone], atol=1e-5)


def test_exported_files_are_the_network(network: Lite) -> None:
    batch = s4(2)
    reference = reference_map(network, batch)
    pooling = load_contract(CONTRACT).policy.pooling
    # of the level, not of the spread as in the contract: the map of random weights is nearly flat at a high level
    limit = 1e-5 * np.abs(reference).max()
    assert np.abs(tflite_map(tflite_bytes(fold(network), 256, pooling), batch) - reference).max() <= limit
    assert np.abs(onnx_map(onnx_bytes(fold(network), 256, pooling), batch) - reference).max() <= limit


def test_other_weights_than_the_known_file_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save({"_conv_stem.weight": torch.zeros(1)}, other)
    pixels = load_contract().policy.pixel_pipeline
    with pytest.raises(CheckpointError, match=f"wanted is {SHA256}"):
        load_pretrained(other, pixels)
    with pytest.raises(CheckpointError, match="no file"):
        load_pretrained(tmp_path / "absent.pth", pixels)


def test_only_width_one_is_known() -> None:
    with pytest.raises(ValueError, match="width 1 only"):
        build_network("lite", "raw", 1.0, 0.5)
