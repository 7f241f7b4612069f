"""What the layers of a model file compute, seen in a second interpreter or session beside the plain one.

Watching can change what is computed: kernels that were fused are taken apart. So the final outputs of the watched run
are compared with the plain one's, and the difference is reported.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from ecdd.parity.parity_metric import ParityError
from ecdd.runtimes.integer_io import INTEGERS, AffineQuantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.parity.runtime_pair import Side
    from ecdd.runtimes.registry import RuntimeSettings

CONVOLUTIONS: Final = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "Conv", "ConvTranspose", "Gemm"}
)
# what may follow a convolution in one file and be a part of it in the other
_FOLLOWERS: Final = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "Relu", "Clip", "BatchNormalization"})


@dataclass(frozen=True)
class GraphStep:
    """One operator: its name, the tensors it reads and the first one it writes."""

    operator: str
    inputs: tuple[str, ...]
    output: str


class WatchedGraph(Protocol):
    """A model file whose inner tensors can be seen."""

    steps: tuple[GraphStep, ...]
    changed: float  # largest |difference| of a final output by watching, over all runs so far

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Compute one picture (H, W, 3); inner tensors by name, channels last, without the axis of the batch."""
        ...


def convolution_layers(steps: Sequence[GraphStep]) -> list[GraphStep]:
    """Convolutions in order, each with what follows it alone: its output is that of the last follower.

    Parameters
    ----------
    steps : sequence of GraphStep
        In the order of execution.

    Returns
    -------
    list of GraphStep
        Operator and inputs of the convolution, output after batch normalisation and clipping.
    """
    readers: dict[str, list[GraphStep]] = {}
    for step in steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step)
    layers = []
    for step in (one for one in steps if one.operator in CONVOLUTIONS):
        output = step.output
        while len(after := readers.get(output, [])) == 1 and after[0].operator in _FOLLOWERS:
            output = after[0].output
        layers.append(GraphStep(step.operator, step.inputs, output))
    return layers


def watch(side: Side, settings: RuntimeSettings) -> WatchedGraph:
    """Open the watched twin of a side.

    Parameters
    ----------
    side : Side
        ONNX or TFLite.
    settings : RuntimeSettings
        As the side was opened with.

    Returns
    -------
    WatchedGraph
        With every operator in order.

    Raises
    ------
    ParityError
        For a torch checkpoint.
    ModuleNotFoundError
        For an ONNX file without the library onnx (extra ``export``).
    """
    if side.kind == "tflite":
        return _TFLiteGraph(side, settings)
    if side.kind == "onnx":
        return _OnnxGraph(side, settings)
    raise ParityError(f"{side.spec}: layers are compared between ONNX and TFLite files; export the checkpoint first")


def computes_in_integers(side: Side) -> bool:
    """Whether a convolution of a side reads its kernel as 8-bit integers, and so rounds what flows into it.

    Weights that are only stored in 8 bits pass through a DEQUANTIZE first, and do not count.
    """
    if side.kind != "tflite":
        return False
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate would stand for all operators
    interpreter: Any = Interpreter(model_content=side.content, experimental_op_resolver_type=plain)
    types = {one["index"]: np.dtype(one["dtype"]) for one in interpreter.get_tensor_details()}
    kernels = [step["inputs"][1] for step in interpreter._get_ops_details() if step["op_name"] in CONVOLUTIONS]
    return any(types.get(index) == np.int8 for index in kernels)


class _TFLiteGraph:
    def __init__(self, side: Side, settings: RuntimeSettings) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.AUTO if settings.xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that preserving costs memory: it was asked for
            self._interpreter: Any = Interpreter(
                model_content=side.content,
                num_threads=settings.threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=True,
            )
        self._side, self._sized, self.changed = side, False, 0.0
        (self._given,) = self._interpreter.get_input_details()
        self._details = {one["index"]: one for one in self._interpreter.get_tensor_details()}
        self.steps = tuple(
            GraphStep(step["op_name"], tuple(self._name(k) for k in step["inputs"]), self._name(step["outputs"][0]))
            for step in self._interpreter._get_ops_details()
            if step["op_name"] != "DELEGATE"
        )

    def _name(self, index: int) -> str:
        return str(self._details[index]["name"]) if index in self._details else ""

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        batch = self._side.native(tensor[None])
        if not self._sized:
            self._interpreter.resize_tensor_input(self._given["index"], batch.shape)
            self._interpreter.allocate_tensors()
            self._sized = True
        self._interpreter.set_tensor(self._given["index"], batch)
        self._interpreter.invoke()
        written = {step.output for step in self.steps}
        found = {}
        for index, detail in self._details.items():
            if detail["name"] in written and (values := self._values(index, detail)) is not None:
                found[detail["name"]] = values
        final = [self._values(one["index"], one) for one in self._interpreter.get_output_details()]
        self.changed = max(self.changed, _change(self._side, tensor, final))
        return found

    def _values(self, index: int, detail: dict[str, Any]) -> NDArray[np.float32] | None:
        """A tensor as numbers; None for one that does not stand for numbers."""
        try:
            stored = np.asarray(self._interpreter.get_tensor(index))
        except ValueError:  # a scratch tensor that holds nothing
            return None
        quantisation = _quantisation(detail)
        if quantisation is not None:
            stored = quantisation.dequantise(stored)
        return stored[0] if stored.dtype == np.float32 and stored.ndim > 1 else stored if stored.ndim else None


class _OnnxGraph:
    def __init__(self, side: Side, settings: RuntimeSettings) -> None:
        import onnx
        import onnxruntime

        model = onnx.load_from_string(side.content)
        self.steps = tuple(
            GraphStep(node.op_type, tuple(node.input), node.output[0]) for node in model.graph.node if node.output
        )
        own = [one.name for one in model.graph.output]
        wanted = [step.output for step in self.steps if step.output not in own]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = settings.threads, 1
        options.log_severity_level = 4
        content = model.SerializeToString()
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._side, self._own, self.changed = side, own, 0.0

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        batch = self._side.native(tensor[None])
        (given,) = self._session.get_inputs()
        names = [one.name for one in self._session.get_outputs()]
        values = dict(zip(names, self._session.run(names, {given.name: batch}), strict=True))
        self.changed = max(self.changed, _change(self._side, tensor, [values[name] for name in self._own]))
        numbers = {name: np.asarray(one) for name, one in values.items() if np.asarray(one).dtype == np.float32}
        return {
            name: np.ascontiguousarray(one[0].transpose(1, 2, 0)) if one.ndim == 4 else one[0] if one.ndim > 1 else one
            for name, one in numbers.items()
        }


def _quantisation(detail: dict[str, Any]) -> AffineQuantisation | None:
    dtype, parameters = np.dtype(detail["dtype"]).name, detail["quantization_parameters"]
    if dtype not in INTEGERS or len(parameters["scales"]) != 1:
        return None
    return AffineQuantisation(dtype, float(parameters["scales"][0]), int(parameters["zero_points"][0]))


def _change(side: Side, tensor: NDArray[np.float32], final: Sequence[Any]) -> float:
    """Largest |difference| of the final outputs by watching; an output is known by how many numbers it has."""
    plain = [one.reshape(-1) for one in side.runtime.named_outputs(tensor[None]).values()]
    watched = [np.asarray(one).reshape(-1) for one in final if one is not None]
    moves = [[np.abs(one - other).max() for other in watched if other.size == one.size] for one in plain]
    if not all(moves):
        raise ParityError(f"{side.file}: the watched run gives other outputs than the plain one")
    return float(max(min(one) for one in moves))
