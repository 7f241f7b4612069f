"""Make the own pair: a network of another architecture as TFLite and ONNX, the way a team would bring it.

``python gates/own_model/make_own_pair.py`` (extra ``export``) writes both files beside itself. Nothing of this project
is imported. The grid is the contract's, the network is not: one 9x9 convolution at stride 8 over the raw tensor, ReLU,
and a 1x1 convolution; its pooling is the mean. Weights are drawn from a seed and trained on nothing (of the first forty
seeds the one whose filters happen to part the golden faces best, AUC 0.70), so gates that ask what it has learnt are
right to be red.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
SIDE, CHANNELS, KERNEL, STRIDE, SEED = 256, 12, 9, 8, 0


def weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Filters (9, 9, 3, 12) without a mean, the head (1, 1, 12, 1), and its bias (1,), float32."""
    rng = np.random.default_rng(SEED)
    filters = rng.normal(0, 0.1, (KERNEL, KERNEL, 3, CHANNELS))
    filters -= filters.mean(axis=(0, 1), keepdims=True)
    head = rng.normal(0, 0.5, (1, 1, CHANNELS, 1))
    return filters.astype(np.float32), head.astype(np.float32), np.array([0.1], np.float32)


def tflite(filters: np.ndarray, head: np.ndarray, bias: np.ndarray) -> bytes:
    """The network as TFLite, channels last, any number of pictures."""

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="image")])
        def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            hidden = tf.nn.relu(tf.nn.conv2d(image, filters, STRIDE, "VALID"))
            cells = tf.squeeze(tf.nn.conv2d(hidden, head, 1, "VALID") + bias, -1)
            return {"patch_logits": cells, "pooled_logit": tf.reduce_mean(cells, (1, 2))}

    made = Network()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([made.__call__.get_concrete_function()], made)
    return bytes(converter.convert())


def onnx_file(filters: np.ndarray, head: np.ndarray, bias: np.ndarray) -> bytes:
    """The same network as ONNX; the tensor comes channels last and is turned inside."""
    values = {"filters": filters.transpose(3, 2, 0, 1), "head": head.transpose(3, 2, 0, 1), "bias": bias}
    values |= {"channel": np.array([1]), "cells": np.array([1, 2])}
    nodes = [
        helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "filters"], ["seen"], strides=[STRIDE, STRIDE]),
        helper.make_node("Relu", ["seen"], ["hidden"]),
        helper.make_node("Conv", ["hidden", "head", "bias"], ["map"]),
        helper.make_node("Squeeze", ["map", "channel"], ["patch_logits"]),
        helper.make_node("ReduceMean", ["patch_logits", "cells"], ["pooled_logit"], keepdims=0),
    ]
    grid = (SIDE - KERNEL) // STRIDE + 1
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("patch_logits", TensorProto.FLOAT, ["N", grid, grid]),
            helper.make_tensor_value_info("pooled_logit", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    """Write both files."""
    for name, make in (("own.tflite", tflite), ("own.onnx", onnx_file)):
        content = make(*weights())
        (HERE / name).write_bytes(content)
        sys.stdout.write(f"{name}: {len(content)} bytes\n")


if __name__ == "__main__":
    main()
