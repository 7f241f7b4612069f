"""From a float TFLite file to a quantised one, and proof that something in it was quantised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from ecdd.contract.schema import PolicyContract
from ecdd.export.folding import ExportError
from ecdd.export.representative_data import RepresentativeSet, check_representative
from ecdd.export.tflite_export import INPUT_NAME

Mode = Literal["float32", "float16", "dynamic_range", "weight_only_int8", "full_int8", "int16x8"]
# Pooling weighs 961 cells by an exponential: 8 bits are too few. It stays float behind every quantised map.
POOLING_OPERATIONS: Final = ("SOFTMAX", "MUL", "SUM", "RESHAPE", "DIV", "MEAN", "SLICE")
SIGNATURE: Final = "serving_default"
# dtype of a convolution's weights and of its activations, by mode
EXPECTED: Final[dict[Mode, tuple[str, str]]] = {
    "float32": ("float32", "float32"),
    "float16": ("float16", "float32"),
    "dynamic_range": ("int8", "float32"),
    "weight_only_int8": ("int8", "float32"),
    "full_int8": ("int8", "int8"),
    "int16x8": ("int8", "int16"),
}


def quantise(
    model: bytes,
    mode: Mode,
    policy: PolicyContract,
    representative: RepresentativeSet | None = None,
    *,
    float_layers: Sequence[str] = (),
    integer_io: bool = False,
) -> bytes:
    """Quantise a float TFLite file.

    Parameters
    ----------
    model : bytes
        From `ecdd.export.tflite_export.tflite_bytes`.
    mode : str
        A key of `EXPECTED`; ``float32`` gives the file back.
    policy : PolicyContract
        Least representative set and preprocessing.
    representative : RepresentativeSet, optional
        Needed for ``full_int8`` and ``int16x8``.
    float_layers : sequence of str
        Regular expressions of output names that stay float: float islands.
    integer_io : bool
        Input and map as integers too; float input and output where not.

    Returns
    -------
    bytes
        The quantised file, looked into by `check_quantised`.

    Raises
    ------
    ExportError
        Without the extra ``export``, without or with bad representative data, or when nothing was quantised.
    """
    if mode == "float32":
        return model
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        msg = "ai-edge-quantizer is needed to quantise; install the extra `export`"
        raise ExportError(msg) from error
    work = quantizer.Quantizer(model)
    _set_recipe(work, recipe, mode, float_layers, integer_io=integer_io)
    ranges = None
    if mode in {"full_int8", "int16x8"}:
        if representative is None:
            raise ExportError(f"{mode} measures ranges of activations: give representative data")
        check_representative(representative, policy)
        samples = [{INPUT_NAME: tensor[None]} for tensor in representative.tensors]
        ranges = work.calibrate({SIGNATURE: samples}, num_threads=1)
    done = bytes(work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)
    check_quantised(done, mode)
    return done


def _set_recipe(work: Any, recipe: Any, mode: Mode, float_layers: Sequence[str], *, integer_io: bool) -> None:  # noqa: ANN401
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    operations = qtyping.TFLOperationName
    if mode == "float16":
        for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            work.add_weight_only_config(".*", operations[name], 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    else:
        made = {
            "dynamic_range": recipe.dynamic_wi8_afp32,
            "weight_only_int8": recipe.weight_only_wi8_afp32,
            "full_int8": recipe.static_wi8_ai8,
            "int16x8": recipe.static_wi8_ai16,
        }
        work.load_quantization_recipe(made[mode]())
    left = [*POOLING_OPERATIONS, *(() if integer_io else ("INPUT", "OUTPUT"))]
    if mode in {"full_int8", "int16x8"}:
        for name in left:
            if name in operations.__members__:
                work.update_quantization_recipe(".*", operations[name], algorithm_key=AlgorithmName.NO_QUANTIZE)
    for layer in float_layers:
        work.update_quantization_recipe(layer, operations.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)


@dataclass(frozen=True)
class ConvolutionTypes:
    """What a convolution of a file computes with.

    Attributes
    ----------
    name : str
        Of its output.
    weights, activations : str
        Types of kernel and output.
    scales : int
        Scales of the kernel: one a channel, or one for all, or 0 where it is float.
    """

    name: str
    weights: str
    activations: str
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
    main, found = graph.subgraphs[0], []
    names = {value: key.lower() for key, value in vars(schema.TensorType).items() if not key.startswith("_")}
    for tensor in main.tensors:
        scale = None if tensor.quantization is None else tensor.quantization.scale
        if scale is not None and len(scale) and not (np.isfinite(scale).all() and (np.asarray(scale) > 0).all()):
            msg = f"tensor {_text(tensor.name)} has a scale of {float(np.min(scale)):g}; every scale must be above 0"
            raise ExportError(msg)
    for operator in main.operators:
        code = graph.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind != schema.BuiltinOperator.CONV_2D:
            continue
        kernel, out = main.tensors[_stored(graph, main, operator.inputs[1])], main.tensors[operator.outputs[0]]
        scale = None if kernel.quantization is None else kernel.quantization.scale
        found.append(
            ConvolutionTypes(_text(out.name), names[kernel.type], names[out.type], 0 if scale is None else len(scale))
        )
    return found


def _stored(graph: Any, main: Any, index: int) -> int:  # noqa: ANN401
    """The stored tensor behind a kernel: float16 and weight-only kernels pass through a DEQUANTIZE."""
    if len(
        graph.buffers[main.tensors[index].buffer].data
        if graph.buffers[main.tensors[index].buffer].data is not None
        else ()
    ):
        return index
    for operator in main.operators:
        if index in operator.outputs:
            return int(operator.inputs[0])
    return index


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def check_quantised(model: bytes, mode: Mode) -> dict[str, int]:
    """Prove that a file is what its mode says.

    Returns
    -------
    dict of str to int
        Convolutions by types of weights and activations.

    Raises
    ------
    ExportError
        If no convolution has the mode's types: the tool ran and changed nothing, which really happens.
    """
    found = convolutions(model)
    counted = Counter(f"{conv.weights}/{conv.activations}" for conv in found)
    weights, activations = EXPECTED[mode]
    as_said = [conv for conv in found if conv.weights == weights and conv.activations == activations]
    if not as_said:
        msg = f"{mode}: no convolution has {weights} weights and {activations} activations, found {dict(counted)}"
        raise ExportError(msg)
    return dict(counted)
