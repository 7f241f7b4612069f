"""What a TFLite file computes with, read from inside it: proof that something was quantised, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from ecdd.export.export_error import ExportError

Mode = Literal["float32", "float16", "dynamic_range", "weight_only_int8", "full_int8", "int16x8"]
WEIGHTS_ONLY: Final[tuple[Mode, ...]] = ("float16", "weight_only_int8")  # stored so, computed in float32
INTEGER_MODES: Final[tuple[Mode, ...]] = ("full_int8", "int16x8")  # ranges of activations are measured beforehand
OPERATOR, POOLING = "operator", "pooling"  # names of what is no convolution of the network
CELL: Final = "cell"  # last step of every folded network
ISLANDS: Final = (OPERATOR, CELL)  # stay float in every network where nothing else is asked for
# dtype of a convolution's weights and of its activations, by mode
EXPECTED: Final[dict[Mode, tuple[str, str]]] = {
    "float32": ("float32", "float32"),
    "float16": ("float16", "float32"),
    "dynamic_range": ("int8", "float32"),
    "weight_only_int8": ("int8", "float32"),
    "full_int8": ("int8", "int8"),
    "int16x8": ("int8", "int16"),
}


@dataclass(frozen=True)
class ConvolutionTypes:
    """What a convolution of a file computes with.

    Attributes
    ----------
    name : str
        Of its output.
    weights, activations : str
        Types of the stored kernel and of the output.
    channels, scales : int
        Output channels, and scales of the kernel: one a channel, or one for all, or 0 where it is float.
    """

    name: str
    weights: str
    activations: str
    channels: int
    scales: int


def convolutions(model: bytes) -> list[ConvolutionTypes]:
    """List the convolutions of a TFLite file by looking inside it, not by how it was made.

    Raises
    ------
    ExportError
        If a quantised tensor has a scale that is 0, negative or not finite.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    main = graph.subgraphs[0]
    names = {value: key.lower() for key, value in vars(schema.TensorType).items() if not key.startswith("_")}
    for tensor in main.tensors:
        _check_scales(tensor)
    made_by = {int(index): operator for operator in main.operators for index in operator.outputs}
    found = []
    for operator in main.operators:
        code = graph.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind not in {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D}:
            continue
        outputs = 0 if kind == schema.BuiltinOperator.CONV_2D else -1  # the kernel's axis of output channels
        index = int(operator.inputs[1])
        # float16 and weight-only kernels pass through a DEQUANTIZE: what counts is what is stored
        kernel = main.tensors[int(made_by[index].inputs[0]) if index in made_by else index]
        out = main.tensors[operator.outputs[0]]
        scale = None if kernel.quantization is None else kernel.quantization.scale
        scales = 0 if scale is None else len(scale)
        found.append(
            ConvolutionTypes(_text(out.name), names[kernel.type], names[out.type], int(kernel.shape[outputs]), scales)
        )
    return found


def tensor_types(model: bytes) -> set[str]:
    """Types of all tensors of a TFLite file, in every subgraph, for example ``{"float32", "int32"}``."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    names = {value: key.lower() for key, value in vars(schema.TensorType).items() if not key.startswith("_")}
    return {names[tensor.type] for part in graph.subgraphs for tensor in part.tensors}


def _check_scales(tensor: Any) -> None:  # noqa: ANN401
    scale = None if tensor.quantization is None else tensor.quantization.scale
    if scale is not None and len(scale) and not (np.isfinite(scale).all() and (np.asarray(scale) > 0).all()):
        msg = f"tensor {_text(tensor.name)} has a scale of {float(np.min(scale)):g}; every scale must be above 0"
        raise ExportError(msg)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def check_quantised(model: bytes, mode: Mode, float_layers: Sequence[str] = ()) -> dict[str, int]:
    """Prove that every convolution of a file is what its mode says.

    Parameters
    ----------
    model : bytes
        TFLite file.
    mode : str
        A key of `EXPECTED`.
    float_layers : sequence of str
        Layers that were left float.

    Returns
    -------
    dict of str to int
        Convolutions by types of weights and activations, islands included.

    Raises
    ------
    ExportError
        If a convolution has other types (the tool may run and change nothing, which really happens), or one scale for
        all its channels.
    """
    found = convolutions(model)
    counted = dict(Counter(f"{conv.weights}/{conv.activations}" for conv in found))
    weights, activations = EXPECTED[mode]
    judged = [conv for conv in found if not conv.name.startswith(tuple(f"{layer}/" for layer in float_layers))]
    wrong = [conv.name for conv in judged if (conv.weights, conv.activations) != (weights, activations)]
    if wrong or not judged:
        msg = (
            f"{mode}: convolutions must have {weights} weights and {activations} activations, found {counted}; "
            f"others: {', '.join(wrong) or 'all are float islands'}"
        )
        raise ExportError(msg)
    if coarse := [conv.name for conv in judged if conv.scales not in (0, conv.channels)]:
        msg = f"{mode}: weights of {', '.join(coarse)} share one scale; a scale for every output channel is needed"
        raise ExportError(msg)
    return counted
