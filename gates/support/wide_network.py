"""A small seeded ONNX network whose cells see far beyond their own tile, as most networks have it."""

from __future__ import annotations

import numpy as np

from ecdd.contract.schema import PolicyContract
from ecdd.runtimes.base import INPUT_NAME, MAP_NAME

CELLS, STRIDE, FIELD = 8, 8, 39
PADDING = (FIELD - STRIDE) // 2


def wide_policy(policy: PolicyContract) -> PolicyContract:
    """The contract with the geometry of this network."""
    grid = policy.patch_grid.model_copy(
        update={"rows": CELLS, "cols": CELLS, "stride": STRIDE, "receptive_field": FIELD, "padding": PADDING}
    )
    pixels = policy.pixel_pipeline.model_copy(update={"input_size": STRIDE * CELLS})
    return policy.model_copy(update={"patch_grid": grid, "pixel_pipeline": pixels})


def wide_onnx(seed: int) -> bytes:
    """The file: one convolution, its weights noise under a bell of 6 px, padded with zeros."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    at = np.arange(FIELD) - (FIELD - 1) / 2
    bell = np.exp(-0.5 * (at / (0.75 * STRIDE)) ** 2)
    noise = np.random.default_rng(seed).normal(0, 1, (1, 3, FIELD, FIELD))
    kernel = numpy_helper.from_array((noise * np.outer(bell, bell) / STRIDE).astype(np.float32), "kernel")
    after = STRIDE * (CELLS - 1) + FIELD - PADDING - STRIDE * CELLS
    nodes = [
        helper.make_node("Transpose", [INPUT_NAME], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["logits"], strides=[STRIDE] * 2,
                         pads=[PADDING, PADDING, after, after]),
        helper.make_node("Squeeze", ["logits", "axis"], [MAP_NAME]),
    ]  # fmt: skip
    side = STRIDE * CELLS
    graph = helper.make_graph(
        nodes, "wide",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", side, side, 3])],
        [helper.make_tensor_value_info(MAP_NAME, TensorProto.FLOAT, ["batch", CELLS, CELLS])],
        [kernel, numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
