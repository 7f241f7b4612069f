"""Every layer of the network as a file of its own, float32 and int8: where the time goes.

LiteRT's Python interpreter has no profiler, and watching tensors takes fused kernels apart. A file with one layer runs
the very kernel that XNNPACK chooses in the whole file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.export.folding import FoldedConv, FoldedNetwork
from ecdd.export.tflite_export import npr_kernel
from ecdd.runtimes.integer_io import AffineQuantisation

DEPTH_TO_SPACE = "npr, to pixels"


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution, or a depth-to-space where there is no kernel; shapes without the axis of the batch."""

    name: str
    given: tuple[int, int, int]
    kernel: NDArray[Any] | None
    bias: NDArray[Any] | None
    stride: int
    relu: bool

    @property
    def macs(self) -> int:
        """Multiply-adds that the kernel does."""
        if self.kernel is None:
            return 0
        rows, cols = ((size - self.kernel.shape[0]) // self.stride + 1 for size in self.given[:2])
        return rows * cols * int(np.prod(self.kernel.shape))


def layers_of(folded: FoldedNetwork, side: int) -> list[Layer]:
    """The student's layers in the order of the file; it pads nothing."""
    layers = []
    shape = (side, side, 3)
    if folded.npr:
        layers += [
            Layer("npr", shape, npr_kernel(folded.operator_gain), np.zeros(12), 2, relu=False),
            Layer(DEPTH_TO_SPACE, (side // 2, side // 2, 12), None, None, 1, relu=False),
        ]
    for step in folded.steps:
        assert isinstance(step, FoldedConv), f"{step.name}: layers are timed for networks without shortcuts"
        assert not step.padding, f"{step.name} pads"
        layers.append(Layer(step.name, shape, step.kernel, step.bias, step.stride, relu=step.relu))
        rows, cols = ((size - step.kernel.shape[0]) // step.stride + 1 for size in shape[:2])
        shape = (rows, cols, step.kernel.shape[3])
    return layers


def layer_files(layer: Layer, sample: NDArray[np.float32]) -> tuple[bytes, bytes]:
    """The layer in float32, and in int8 with integer input and output, its ranges measured on ``sample``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf
    from ai_edge_quantizer import quantizer, recipe

    class OneLayer(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([1, *layer.given], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> dict[str, Any]:
            if layer.kernel is None:
                return {"y": tf.nn.depth_to_space(x, 2)}
            kernel, bias = (tf.constant(np.ascontiguousarray(part, np.float32)) for part in (layer.kernel, layer.bias))
            x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, layer.stride, "VALID"), bias)
            return {"y": tf.nn.relu(x) if layer.relu else x}

    module = OneLayer()
    function = module.__call__.get_concrete_function()
    floats = bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert())
    tool = quantizer.Quantizer(floats)
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = tool.calibrate({"serving_default": [{"x": sample}]}, num_threads=1)
    made = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
    return floats, bytes(made)


def interpreter_call(
    content: bytes, sample: NDArray[np.float32]
) -> tuple[Callable[[Any], None], Callable[[], NDArray[np.float32]]]:
    """A call that computes ``sample`` alone, without giving or taking tensors, and its answer as numbers."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    quantisation = _affine(given)
    interpreter.set_tensor(given["index"], sample if quantisation is None else quantisation.quantise(sample))

    def answer() -> NDArray[np.float32]:
        raw, scaled = interpreter.get_tensor(made["index"]), _affine(made)
        return np.asarray(raw if scaled is None else scaled.dequantise(raw))

    return lambda _: interpreter.invoke(), answer


def _affine(detail: dict[str, Any]) -> AffineQuantisation | None:
    dtype, parameters = np.dtype(detail["dtype"]).name, detail["quantization_parameters"]
    if dtype == "float32":
        return None
    return AffineQuantisation(dtype, float(parameters["scales"][0]), int(parameters["zero_points"][0]))
