"""Folded student to an ONNX file, NHWC at its border like the TFLite file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.export.folding import ExportError, FoldedStudent
from ecdd.export.tflite_export import INPUT_NAME, OUTPUT_NAME, npr_kernel

OPSET = 17
IR_VERSION = 8


def onnx_bytes(folded: FoldedStudent, input_size: int | None = None) -> bytes:
    """Build the folded student as an ONNX graph, checked and shape-inferred.

    Parameters
    ----------
    folded : FoldedStudent
        Weights.
    input_size : int or None
        Side of the input, px, even; None leaves height and width free (for tests on non-square content).

    Returns
    -------
    bytes
        ONNX model, opset 17; input ``image`` float32 (N, H, W, 3), output ``patch_logits`` float32 (N, rows, cols).

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
    nodes, initialisers = _graph(onnx, folded)
    side: int | str = "height" if input_size is None else input_size
    width: int | str = "width" if input_size is None else input_size
    grid: tuple[int | str, int | str] = ("rows", "cols")
    if input_size is not None:
        cells = ((input_size - 4) // 2 - 3) // 4 + 1
        grid = (cells, cells)
    graph = helper.make_graph(
        nodes,
        "tiny_ladeda",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", side, width, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", *grid])],
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


def _graph(onnx: Any, folded: FoldedStudent) -> tuple[list[Any], list[Any]]:  # noqa: ANN401 - onnx has no types
    make_node, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [make_node("Transpose", [INPUT_NAME], ["nchw"], perm=[0, 3, 1, 2])]
    initialisers = []

    def conv(name: str, kernel: NDArray[Any], bias: NDArray[Any] | None, source: str, stride: int, relu: bool) -> str:
        oihw = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)
        initialisers.append(tensor(oihw, f"{name}_kernel"))
        inputs = [source, f"{name}_kernel"]
        if bias is not None:
            initialisers.append(tensor(np.asarray(bias, np.float32), f"{name}_bias"))
            inputs.append(f"{name}_bias")
        nodes.append(
            make_node("Conv", inputs, [name], kernel_shape=list(oihw.shape[2:]), strides=[stride, stride], pads=[0] * 4)
        )
        if relu:
            nodes.append(make_node("Relu", [name], [f"{name}_relu"]))
            return f"{name}_relu"
        return name

    out = conv("npr_blocks", npr_kernel(), None, "nchw", 2, relu=False)
    nodes.append(make_node("DepthToSpace", [out], ["npr"], blocksize=2, mode="DCR"))
    out = conv("stem", folded.stem, folded.stem_bias, "npr", 1, relu=True)
    out = conv("mix", folded.mix, folded.mix_bias, out, 1, relu=True)
    out = conv("down", folded.down, folded.down_bias, out, 2, relu=True)
    out = conv("cell", folded.cell, folded.cell_bias, out, 4, relu=False)
    initialisers.append(tensor(np.array([1], np.int64), "channel_axis"))
    nodes.append(make_node("Squeeze", [out, "channel_axis"], [OUTPUT_NAME]))
    return nodes, initialisers
