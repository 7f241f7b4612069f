"""Weights of `lite` read back from its exported file: the same map, weights of the trunk's size, faults named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from ecdd.bundle.loading import default_bundle_path
from ecdd.cli import app
from ecdd.models.checkpoint import identity_of, load_weights, save_weights
from ecdd.models.exported_weights import load_exported
from ecdd.models.lite import Lite
from ecdd.models.state_dicts import CheckpointError
from ecdd.specification import CONTRACT

FILE = default_bundle_path() / "model.onnx"


@pytest.fixture(scope="module")
def trunk() -> Lite:
    """Seeded weights of a size of their own in every channel, one of them without any."""
    torch.manual_seed(5)
    model = Lite()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.2, 3)
    with torch.no_grad():
        model.blocks[3].expand.weight[7] = 0
    return model.eval()


def test_the_network_read_back_computes_what_the_file_computes(trunk: Lite) -> None:
    import onnxruntime

    found = load_exported(FILE, trunk)
    tensor = np.random.default_rng(2).normal(size=(1, 256, 256, 3)).astype(np.float32)
    wanted = onnxruntime.InferenceSession(FILE).run(["patch_logits"], {"image": tensor})[0]
    with torch.inference_mode():
        given = found(torch.from_numpy(tensor).permute(0, 3, 1, 2)).numpy()
    assert np.abs(given.ravel() - wanted.ravel()).max() < 1e-4 * max(1.0, float(np.abs(wanted).max()))


def test_channels_get_the_size_that_they_have_in_the_trunk(trunk: Lite) -> None:
    found = load_exported(FILE, trunk)
    for name in ("stem", "blocks.6.depthwise", "blocks.14.project"):
        mine, wanted = (one.get_submodule(name).weight.square().mean(dim=(1, 2, 3)).sqrt() for one in (found, trunk))
        alike = torch.isclose(mine, wanted, rtol=1e-4)
        assert alike.float().mean() > 0.7, name
    assert torch.isfinite(found.blocks[3].expand.weight).all()
    assert torch.equal(found.stem_norm.running_var, trunk.stem_norm.running_var)


@pytest.mark.parametrize("layer", ["block4_depthwise_kernel", "block9_project_bias", "cell_7_kernel", "cell_14_bias"])
def test_a_layer_that_is_missing_or_broken_is_named(layer: str, trunk: Lite, tmp_path: Path) -> None:
    model = onnx.load_model(FILE)
    (one,) = [tensor for tensor in model.graph.initializer if tensor.name == layer]
    model.graph.initializer.remove(one)
    onnx.save_model(model, tmp_path / "without.onnx")
    with pytest.raises(CheckpointError, match=f"{layer} of shape"):
        load_exported(tmp_path / "without.onnx", trunk)


def test_what_is_no_number_is_refused(trunk: Lite, tmp_path: Path) -> None:
    model = onnx.load_model(FILE)
    (one,) = [tensor for tensor in model.graph.initializer if tensor.name == "stem_bias"]
    one.CopyFrom(numpy_helper.from_array(np.full(32, np.nan, np.float32), "stem_bias"))
    onnx.save_model(model, tmp_path / "broken.onnx")
    with pytest.raises(CheckpointError, match=r"stem_bias .* not finite"):
        load_exported(tmp_path / "broken.onnx", trunk)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(CheckpointError, match="not a readable ONNX file"):
        load_exported(tmp_path / "text.onnx", trunk)


def test_the_command_reads_a_bundles_file_back(trunk: Lite, policy: object, tmp_path: Path) -> None:
    path, out = tmp_path / "trunk.safetensors", tmp_path / "weights.safetensors"
    save_weights(trunk, identity_of(trunk, policy), path)  # type: ignore[arg-type]
    call = ["models", "import", str(FILE), "--arch", "lite", "--trunk", str(path), "--contract", str(CONTRACT)]
    result = CliRunner().invoke(app, [*call, "--out", str(out)])
    assert result.exit_code == 0, result.output
    model, identity = load_weights(out)
    assert isinstance(model, Lite)
    assert identity.tensor_digest  # a training under the same contract may begin with it
    call[call.index("lite")] = "ladeda9"
    result = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "other")])
    assert result.exit_code == 2
    assert "only lite is read back" in result.output
