"""Folded network to a float32 TFLite file.

The graph is built from plain TensorFlow operations with copied weights. NPR is a strided 2x2 convolution with
weights 1 and -1 (12 channels: every pixel of a block minus its top-left pixel) and a depth-to-space: exact, since
multiplying by 1, -1 and 0 does not round, and all of it runs in the XNNPACK delegate, which a strided slice with a
nearest-neighbour resize does not.
"""

from __future__ import annotations

import os
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.model_sections import Pooling
from ecdd.export.export_error import ExportError
from ecdd.export.folding import IMAGE, FoldedConv, FoldedNetwork
from ecdd.export.quantised_file import OPERATOR, POOLING
from ecdd.inference.pooling import NOTHING_POOLED, top_k_count, trimmed_count
from ecdd.runtimes.base import MAP_NAME, POOLED_NAME

INPUT_NAME = "image"
OUTPUT_NAME = MAP_NAME
RELU6 = 6.0


def npr_kernel(gain: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> NDArray[np.float32]:
    """Make the 2x2 kernel that computes NPR for a block.

    Parameters
    ----------
    gain : tuple of 3 floats
        Factor by colour.

    Returns
    -------
    ndarray, float32, shape (2, 2, 3, 12)
        Height x width x in x out; out channel ``(2*dy + dx)*3 + c`` is pixel (dy, dx) minus pixel (0, 0) of
        colour c, the order that depth-to-space expects.
    """
    kernel = np.zeros((2, 2, 3, 12), np.float32)
    for dy in range(2):
        for dx in range(2):
            for colour in range(3):
                out = (2 * dy + dx) * 3 + colour
                kernel[dy, dx, colour, out] += gain[colour]
                kernel[0, 0, colour, out] -= gain[colour]
    return kernel


def tflite_bytes(folded: FoldedNetwork, input_size: int = 256, pooling: Pooling | None = None) -> bytes:
    """Convert a folded network to TFLite, float32, any batch size.

    Parameters
    ----------
    folded : FoldedNetwork
        Of any architecture.
    input_size : int
        Side of the input, px, even.
    pooling : Pooling, optional
        Rule that becomes part of the graph; the map alone where not given.

    Returns
    -------
    bytes
        A TFLite file; input ``image`` float32 (N, S, S, 3), outputs ``patch_logits`` float32 (N, rows, cols) and, with
        ``pooling``, ``pooled_logit`` float32 (N,). The sigmoid is never part of it.

    Raises
    ------
    ExportError
        If tensorflow is not installed (extra ``export``).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        import tensorflow as tf
    except ImportError as error:
        msg = "tensorflow is needed to write a TFLite file; install the extra `export`"
        raise ExportError(msg) from error
    module = _module(tf, folded, input_size, pooling)
    concrete = module.__call__.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    data = converter.convert()
    if not isinstance(data, bytes):
        msg = f"the converter returned {type(data).__name__}, expected bytes"
        raise ExportError(msg)
    return data


def _module(
    tf: Any,  # noqa: ANN401 - tensorflow has no types
    folded: FoldedNetwork,
    input_size: int,
    pooling: Pooling | None,
) -> Any:  # noqa: ANN401
    def constant(array: NDArray[np.float64] | NDArray[np.float32]) -> Any:  # noqa: ANN401
        return tf.constant(np.ascontiguousarray(array, np.float32))

    def conv(step: FoldedConv, x: Any) -> Any:  # noqa: ANN401
        around = [step.padding, step.padding]
        padding: Any = [[0, 0], around, around, [0, 0]] if step.padding else "VALID"
        padding = "SAME" if step.same else padding
        if step.depthwise:
            x = tf.nn.depthwise_conv2d(x, constant(step.kernel), [1, step.stride, step.stride, 1], padding)
        else:
            x = tf.nn.conv2d(x, constant(step.kernel), step.stride, padding)
        x = tf.nn.bias_add(x, constant(step.bias))
        if step.ceiling is not None and step.ceiling != RELU6:
            msg = f"{step.name}: a ceiling of {step.ceiling} has no operation in TFLite; only {RELU6} has"
            raise ExportError(msg)
        return (tf.nn.relu6(x) if step.ceiling else tf.nn.relu(x)) if step.relu else x

    npr, zero = constant(npr_kernel(folded.operator_gain)), constant(np.zeros(12))
    grid = folded.geometry(input_size, input_size)

    class Network(tf.Module):  # type: ignore[misc]
        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec([None, input_size, input_size, 3], tf.float32, name=INPUT_NAME)]
        )
        def __call__(self, image: Any) -> dict[str, Any]:  # noqa: ANN401
            x = image
            if folded.npr:
                with tf.name_scope(OPERATOR):
                    x = tf.nn.depth_to_space(tf.nn.bias_add(tf.nn.conv2d(image, npr, 2, "VALID"), zero), 2)
            found = {IMAGE: x}
            for step in folded.steps:
                with tf.name_scope(step.name):  # layers keep their names in the file: islands and parity use them
                    if isinstance(step, FoldedConv):
                        found[step.name] = conv(step, found[step.source])
                    else:
                        path, short = found[step.path], found[step.shortcut]
                        short = short[:, : path.shape[1], : path.shape[2], :] if step.crop else short
                        found[step.name] = tf.nn.relu(path + short) if step.relu else path + short
            logits = found[folded.steps[-1].name]
            outputs = {OUTPUT_NAME: tf.reshape(logits, [-1, grid.rows, grid.cols])}
            if pooling is not None:
                with tf.name_scope(POOLING):
                    outputs[POOLED_NAME] = _pooled(tf, tf.reshape(logits, [-1, grid.rows * grid.cols]), pooling)
            return outputs

    return Network()


def _pooled(tf: Any, values: Any, pooling: Pooling) -> Any:  # noqa: ANN401
    """The contract's pooling as operations; values (N, cells) to (N,)."""
    cells = int(values.shape[1])
    if pooling.rule == "mean":
        return tf.reduce_mean(values, axis=1)
    if pooling.rule == "top_k":
        return tf.reduce_mean(tf.math.top_k(values, top_k_count(pooling.top_k_ratio, cells)).values, axis=1)
    if pooling.rule == "trimmed_mean":
        cut = trimmed_count(pooling.trim_fraction, cells)
        return tf.reduce_mean(tf.math.top_k(values, cells).values[:, cut : cells - cut], axis=1)
    if pooling.rule == "attention":
        weights = tf.nn.softmax(values / np.float32(pooling.attention_temperature), axis=1)
        return tf.reduce_sum(weights * values, axis=1)
    if pooling.rule == "none":
        raise ValueError(NOTHING_POOLED)
    assert_never(pooling.rule)
