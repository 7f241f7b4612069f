"""The layer whose weights were changed is the layer that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle import bundle_path
from ecdd.parity.layer_bisecting import compare_layers
from ecdd.parity.layer_outputs import computes_in_integers, watch
from ecdd.parity.runtime_pair import side_of_content
from ecdd.runtimes.registry import RuntimeSettings

onnx = pytest.importorskip("onnx", reason="extra `export` is not installed")

BUNDLE = bundle_path("tiny")
SETTINGS, BUDGET = RuntimeSettings(), 1e-3


@pytest.fixture(scope="module")
def tensors() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    return list((rng.integers(0, 256, (2, 256, 256, 3)) / 255 * 4 - 2).astype(np.float32))


def _changed(place: int) -> bytes:
    """The shipped ONNX file with one weight of its convolution number ``place`` changed."""
    model = onnx.load(BUNDLE / "model.onnx")
    names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    (kernel,) = [one for one in model.graph.initializer if one.name == names[place]]
    values = onnx.numpy_helper.to_array(kernel).copy()
    values.reshape(-1)[0] += 0.5
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    return bytes(model.SerializeToString())


def _first(content: bytes, tensors: list[NDArray[np.float32]]) -> str | None:
    sides = [
        side_of_content((BUNDLE / "model.onnx").read_bytes(), "onnx", "reference"),
        side_of_content(content, "onnx", "candidate"),
    ]
    found = compare_layers(watch(sides[0], SETTINGS), watch(sides[1], SETTINGS), tensors, BUDGET)
    first = found.first_exceeding
    assert max(found.changed) <= 1e-5, "watching must not change what is watched"
    return None if first is None else first.name


def test_the_changed_layer_is_named(tensors: list[NDArray[np.float32]]) -> None:
    model = onnx.load(BUNDLE / "model.onnx")
    graph = watch(side_of_content((BUNDLE / "model.onnx").read_bytes(), "onnx", "reference"), SETTINGS)
    from ecdd.parity.layer_outputs import convolution_layers

    outputs = [step.output for step in convolution_layers(graph.steps)]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(outputs) == len(convolutions) >= 4
    assert _first((BUNDLE / "model.onnx").read_bytes(), tensors) is None
    for place in range(len(convolutions)):
        found = _first(_changed(place), tensors)
        # between two convolutions the first that differs may be what follows the changed one directly
        assert found in {outputs[place], convolutions[place].output[0]}, (place, found)


def test_files_of_two_kinds_are_matched(tensors: list[NDArray[np.float32]]) -> None:
    one = side_of_content((BUNDLE / "model.onnx").read_bytes(), "onnx", "onnx")
    other = side_of_content((BUNDLE / "model.tflite").read_bytes(), "tflite", "tflite")
    found = compare_layers(watch(one, SETTINGS), watch(other, SETTINGS), tensors, BUDGET)
    assert found.first_exceeding is None
    assert len(found.layers) >= 3


@pytest.mark.parametrize("xnnpack", [True, False])
def test_layers_are_watched_under_the_kernels_that_are_asked_for(
    xnnpack: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_edge_litert import interpreter

    asked: list[object] = []
    really = interpreter.Interpreter

    def watched(*given: Any, **options: Any) -> Any:
        asked.append(options["experimental_op_resolver_type"])
        return really(*given, **options)

    monkeypatch.setattr(interpreter, "Interpreter", watched)
    side = side_of_content((BUNDLE / "model.tflite").read_bytes(), "tflite", "tflite")
    asked.clear()
    watch(side, RuntimeSettings(xnnpack=xnnpack))
    kinds = interpreter.OpResolverType
    assert asked == [kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES]


def test_integer_arithmetic_is_seen_in_the_file() -> None:
    expected = {
        "model.tflite": False,
        "variants/dynamic_range/model.tflite": True,
        "variants/full_int8/model.tflite": True,
    }
    found = {
        name: computes_in_integers(side_of_content((BUNDLE / Path(name)).read_bytes(), "tflite", name))
        for name in expected
    }
    assert found == expected
    assert not computes_in_integers(side_of_content((BUNDLE / "model.onnx").read_bytes(), "onnx", "onnx"))
