"""The exported files are the model: same numbers, any batch size, one signature, all of it folded."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from ecdd.bundle import load_bundle
from ecdd.contract.model_sections import PoolingRule
from ecdd.export.export_error import ExportError
from ecdd.export.exported_parity import compare, onnx_map, reference_map, tflite_map
from ecdd.export.folding import fold
from ecdd.export.onnx_export import onnx_bytes
from ecdd.export.tflite_export import tflite_bytes
from ecdd.inference.pooling import pool
from ecdd.models.patch_network import PatchNetwork
from ecdd.models.tiny_ladeda import TinyLaDeDa
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.support.seeded_networks import seeded_student, seeded_teacher

LIMIT = 1e-4  # share of the map's spread; float32 rounding is a hundred times smaller
SIDE = 96  # px; of the teacher, whose float64 reference at 256 would take most of the time


@pytest.fixture(scope="module")
def model() -> TinyLaDeDa:
    """A student with batch-norm statistics that are not the neutral ones."""
    student = seeded_student(11).train()
    generator = torch.Generator().manual_seed(12)
    with torch.no_grad():
        for _ in range(20):
            student(torch.randn(2, 3, 64, 64, generator=generator) * 2 + 0.5)
    return student.eval()


@pytest.fixture(scope="module")
def tflite(model: TinyLaDeDa) -> bytes:
    pytest.importorskip("tensorflow", reason="extra `export` is not installed")
    return tflite_bytes(fold(model))


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(13).normal(size=(4, 256, 256, 3)).astype(np.float32)


def test_both_files_agree_with_the_float64_model(model: TinyLaDeDa, tflite: bytes, batch: np.ndarray) -> None:
    parity = compare(model, tflite, onnx_bytes(fold(model), 256), batch, LIMIT)
    assert parity.spread > 0.01
    assert parity.n == 4


def test_another_model_is_refused(model: TinyLaDeDa, tflite: bytes, batch: np.ndarray) -> None:
    scaled = TinyLaDeDa("NPR", 1.0).eval()
    scaled.load_state_dict(model.state_dict())
    with pytest.raises(ExportError, match="tflite: max"):
        compare(scaled, tflite, onnx_bytes(fold(model), 256), batch, LIMIT)
    with pytest.raises(ExportError, match="onnx: max"):
        compare(model, tflite, onnx_bytes(fold(scaled), 256), batch, LIMIT)


def test_tflite_file_is_folded_and_named(tflite: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["patch_logits"]}}
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert list(inputs["shape_signature"]) == [-1, 256, 256, 3]
    assert list(outputs["shape_signature"]) == [-1, 31, 31]
    assert inputs["dtype"] == outputs["dtype"] == np.float32


def test_batch_does_not_change_a_bit(tflite: bytes, batch: np.ndarray) -> None:
    one_by_one = np.concatenate([tflite_map(tflite, batch[k : k + 1]) for k in range(len(batch))])
    assert np.array_equal(tflite_map(tflite, batch), one_by_one)


def test_conversion_is_reproducible(model: TinyLaDeDa, tflite: bytes) -> None:
    assert tflite_bytes(fold(model)) == tflite
    assert onnx_bytes(fold(model), 256) == onnx_bytes(fold(model), 256)


def test_onnx_keeps_rows_and_columns_apart(model: TinyLaDeDa) -> None:
    wide = np.random.default_rng(14).normal(size=(1, 256, 320, 3)).astype(np.float32)
    out = onnx_map(onnx_bytes(fold(model)), wide)
    reference = reference_map(model, wide)
    assert out.shape == reference.shape == (1, 31, 39)
    assert np.abs(out - reference).max() <= LIMIT * reference.std()


def test_training_mode_is_refused() -> None:
    with pytest.raises(ExportError, match="training mode"):
        fold(seeded_student(0).train())


def with_statistics(network: PatchNetwork) -> PatchNetwork:
    """Batch norms with statistics and factors that are not the neutral ones."""
    generator = torch.Generator().manual_seed(15)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.3, 0.3)):
                values.data.uniform_(low, high, generator=generator)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return network.eval()


@pytest.mark.parametrize("operator", ["NPR", "raw", "x_grad", "y_grad", "left_diag", "right_diag"])
@pytest.mark.parametrize("architecture", ["tiny_ladeda", "ladeda9"])
def test_every_operator_of_teacher_and_student_is_exported(architecture: str, operator: str, batch: np.ndarray) -> None:
    pytest.importorskip("tensorflow", reason="extra `export` is not installed")
    make = seeded_student if architecture == "tiny_ladeda" else seeded_teacher
    network = with_statistics(make(16, operator, 0.7))
    folded = fold(network)
    small = batch[:2, :SIDE, :SIDE]
    parity = compare(network, tflite_bytes(folded, SIDE), onnx_bytes(folded, SIDE), small, LIMIT)
    assert parity.spread > 0.01
    wide = np.random.default_rng(17).normal(size=(1, SIDE, SIDE + 64, 3)).astype(np.float32)
    out, reference = onnx_map(onnx_bytes(folded), wide), reference_map(network, wide)
    assert out.shape == reference.shape
    assert np.abs(out - reference).max() <= LIMIT * reference.std()


def test_teacher_of_full_width_is_exported_from_seeded_weights(batch: np.ndarray) -> None:
    """13.6 M parameters: seeded, not trained; what is proven is the conversion."""
    pytest.importorskip("tensorflow", reason="extra `export` is not installed")
    network = with_statistics(seeded_teacher(18, width=1.0))
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_641_793
    folded = fold(network)
    small = batch[:1, :SIDE, :SIDE]
    parity = compare(network, tflite_bytes(folded, SIDE), onnx_bytes(folded, SIDE), small, LIMIT)
    assert parity.spread > 0.01


@pytest.mark.parametrize("rule", [rule for rule in get_args(PoolingRule) if rule != "none"])
def test_pooling_is_part_of_both_files(rule: str, model: TinyLaDeDa, batch: np.ndarray) -> None:
    pytest.importorskip("tensorflow", reason="extra `export` is not installed")
    pooling = load_bundle("tiny").contract.policy.pooling
    pooling = pooling.model_copy(update={"rule": rule, "attention_temperature": 2.0})
    folded = fold(model)
    for runtime in (TFLiteRuntime(tflite_bytes(folded, 256, pooling)), OnnxRuntime(onnx_bytes(folded, 256, pooling))):
        for count in (1, 4):
            found = runtime.outputs(batch[:count])
            assert found.pooled is not None
            assert found.pooled.shape == (count,)
            assert found.pooled.dtype == np.float32
            expected = [pool(one, pooling) for one in found.maps]
            assert found.pooled.tolist() == pytest.approx(expected, abs=2e-6)


def test_files_with_other_outputs_are_refused(model: TinyLaDeDa) -> None:
    import onnx

    named = onnx.load_from_string(onnx_bytes(fold(model), 256))
    named.graph.node[-1].output[0] = named.graph.output[0].name = "renamed"
    with pytest.raises(
        RuntimeFileError, match=r"expected outputs patch_logits \(N, rows, cols\).*found renamed float32"
    ):
        OnnxRuntime(named.SerializeToString())
    with pytest.raises(ExportError, match="pooling counts cells"):
        onnx_bytes(fold(model), None, load_bundle("tiny").contract.policy.pooling)
    from ecdd.pipeline.blazeface import WEIGHTS

    with pytest.raises(RuntimeFileError, match=r"expected outputs patch_logits .*; found "):
        TFLiteRuntime(WEIGHTS.read_bytes())
