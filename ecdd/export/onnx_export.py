"""Folded network to an ONNX file, NHWC at its border like the TFLite file."""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.model_sections import Pooling
from ecdd.export.export_error import ExportError
from ecdd.export.folding import IMAGE, FoldedConv, FoldedNetwork, FoldedSum
from ecdd.export.tflite_export import INPUT_NAME, OUTPUT_NAME, npr_kernel
from ecdd.inference.pooling import NOTHING_POOLED, top_k_count, trimmed_count
from ecdd.runtimes.base import POOLED_NAME

OPSET = 17
IR_VERSION = 8


def onnx_bytes(folded: FoldedNetwork, input_size: int | None = None, pooling: Pooling | None = None) -> bytes:
    """Build a folded network as an ONNX graph, checked and shape-inferred.

    Parameters
    ----------
    folded : FoldedNetwork
        Teacher or student.
    input_size : int or None
        Side of the input, px, even; None leaves height and width free (for tests on non-square content).
    pooling : Pooling, optional
        Rule that becomes part of the graph, with an ``input_size``; the map alone where not given.

    Returns
    -------
    bytes
        ONNX model, opset 17; input ``image`` float32 (N, H, W, 3), outputs ``patch_logits`` float32 (N,
        rows, cols) and, with ``pooling``, ``pooled_logit`` float32 (N,).

    Raises
    ------
    ExportError
        If onnx is not installed (extra ``export``) or the checker refuses the graph.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        msg = "onnx is needed to write an ONNX file; install the extra `export`"
        raise ExportError(msg) from error
    if pooling is not None and input_size is None:
        msg = "pooling counts cells: give an input_size, or export the map alone"
        raise ExportError(msg)
    nodes, initialisers = _graph(onnx, folded)
    outputs = []
    side: int | str = "height" if input_size is None else input_size
    width: int | str = "width" if input_size is None else input_size
    grid: tuple[int | str, int | str] = ("rows", "cols")
    if input_size is not None:
        cells = folded.geometry(input_size, input_size)
        grid = (cells.rows, cells.cols)
        if pooling is not None:
            nodes, initialisers = _with_pooling(onnx, nodes, initialisers, pooling, cells.rows * cells.cols)
            outputs = [helper.make_tensor_value_info(POOLED_NAME, TensorProto.FLOAT, ["batch"])]
    graph = helper.make_graph(
        nodes,
        folded.architecture,
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", side, width, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", *grid]), *outputs],
        initialisers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="ecdd"
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"onnx.checker refuses the exported graph: {error}"
        raise ExportError(msg) from error
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _graph(onnx: Any, folded: FoldedNetwork) -> tuple[list[Any], list[Any]]:  # noqa: ANN401 - onnx has no types
    make_node, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [make_node("Transpose", [INPUT_NAME], ["nchw"], perm=[0, 3, 1, 2])]
    initialisers = []
    outputs = {IMAGE: "nchw"}

    def constant(name: str, values: NDArray[Any]) -> str:
        initialisers.append(tensor(values, name))
        return name

    def conv(step: FoldedConv) -> str:
        order = (2, 3, 0, 1) if step.depthwise else (3, 2, 0, 1)
        oihw = np.ascontiguousarray(step.kernel.transpose(order), np.float32)
        inputs = [outputs[step.source], constant(f"{step.name}_kernel", oihw)]
        inputs.append(constant(f"{step.name}_bias", np.asarray(step.bias, np.float32)))
        shape, strides = list(oihw.shape[2:]), [step.stride] * 2
        before, after = step.pads()
        grouped = {"group": len(oihw)} if step.depthwise else {}
        pads = [before, before, after, after]
        nodes.append(make_node("Conv", inputs, [step.name], kernel_shape=shape, strides=strides, pads=pads, **grouped))
        if step.ceiling is None:
            return relu(step.name) if step.relu else step.name
        limits = [constant(f"{step.name}_{part}", np.array(value, np.float32)) for part, value in
                  (("floor", 0.0), ("ceiling", step.ceiling))]  # fmt: skip
        nodes.append(make_node("Clip", [step.name, *limits], [f"{step.name}_clipped"]))
        return f"{step.name}_clipped"

    def add(step: FoldedSum) -> str:
        short = outputs[step.shortcut]
        if step.crop:
            span = [constant(f"{step.name}_{part}", np.array(values, np.int64)) for part, values in
                    (("starts", [0, 0]), ("ends", [-step.crop, -step.crop]), ("axes", [2, 3]))]  # fmt: skip
            nodes.append(make_node("Slice", [short, *span], [f"{step.name}_shortcut"]))
            short = f"{step.name}_shortcut"
        nodes.append(make_node("Add", [outputs[step.path], short], [step.name]))
        return relu(step.name) if step.relu else step.name

    def relu(name: str) -> str:
        nodes.append(make_node("Relu", [name], [f"{name}_relu"]))
        return f"{name}_relu"

    if folded.npr:
        oihw = np.ascontiguousarray(npr_kernel(folded.operator_gain).transpose(3, 2, 0, 1), np.float32)
        inputs = ["nchw", constant("npr_blocks_kernel", oihw)]
        nodes.append(make_node("Conv", inputs, ["npr_blocks"], kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4))
        nodes.append(make_node("DepthToSpace", ["npr_blocks"], ["npr"], blocksize=2, mode="DCR"))
        outputs[IMAGE] = "npr"
    for step in folded.steps:
        outputs[step.name] = conv(step) if isinstance(step, FoldedConv) else add(step)
    last = outputs[folded.steps[-1].name]
    nodes.append(make_node("Squeeze", [last, constant("channel_axis", np.array([1], np.int64))], [OUTPUT_NAME]))
    return nodes, initialisers


def _with_pooling(
    onnx: Any,  # noqa: ANN401
    nodes: list[Any],
    initialisers: list[Any],
    pooling: Pooling,
    cells: int,
) -> tuple[list[Any], list[Any]]:
    """Add the contract's pooling behind the map: (N, rows, cols) to (N,)."""
    make_node, made = onnx.helper.make_node, []

    def constant(name: str, values: list[int] | np.float32) -> str:
        array = np.asarray(values, np.float32 if isinstance(values, np.float32) else np.int64)
        made.append(onnx.numpy_helper.from_array(array, name))
        return name

    added = [make_node("Reshape", [OUTPUT_NAME, constant("flat_shape", [-1, cells])], ["flat"])]

    def largest(count: int) -> None:
        added.append(make_node("TopK", ["flat", constant("top_count", [count])], ["largest", "places"], axis=1))

    def mean(source: str) -> None:
        added.append(make_node("ReduceMean", [source], [POOLED_NAME], axes=[1], keepdims=0))

    if pooling.rule == "mean":
        mean("flat")
    elif pooling.rule == "top_k":
        largest(top_k_count(pooling.top_k_ratio, cells))
        mean("largest")
    elif pooling.rule == "trimmed_mean":
        cut = trimmed_count(pooling.trim_fraction, cells)
        largest(cells)
        span = [constant("cut_start", [cut]), constant("cut_end", [cells - cut]), constant("cut_axis", [1])]
        added.append(make_node("Slice", ["largest", *span], ["trimmed"]))
        mean("trimmed")
    elif pooling.rule == "attention":
        temperature = constant("temperature", np.float32(pooling.attention_temperature))
        added += [
            make_node("Div", ["flat", temperature], ["tempered"]),
            make_node("Softmax", ["tempered"], ["weights"], axis=1),
            make_node("Mul", ["weights", "flat"], ["weighted"]),
            make_node("ReduceSum", ["weighted", constant("cells_axis", [1])], [POOLED_NAME], keepdims=0),
        ]
    elif pooling.rule == "none":
        raise ValueError(NOTHING_POOLED)
    else:
        assert_never(pooling.rule)
    return [*nodes, *added], [*initialisers, *made]
