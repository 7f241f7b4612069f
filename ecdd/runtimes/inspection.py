"""Looking at a model file before anything is known of it: inputs, outputs, and the operators that end in them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ecdd.runtimes.base import PatchRuntime, RuntimeFileError
from ecdd.runtimes.integer_io import INTEGERS, AffineQuantisation
from ecdd.runtimes.model_file import read_model
from ecdd.runtimes.model_interface import Chosen, ModelInterface, TensorFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecdd.contract.interface_section import FileKind

# what moves or recodes numbers and does not change what they mean
_PASSING: Final = {"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST"}


@dataclass(frozen=True)
class FileFacts:
    """What a model file says of itself.

    Attributes
    ----------
    path : Path
        The file.
    inputs, outputs : tuple of TensorFacts
        All of them.
    last : dict of str to str
        By output, the operator whose numbers it gives; of TFLite files alone.
    signatures : tuple of str
        See `signatures`.
    """

    path: Path
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    last: dict[str, str]
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Everything(ModelInterface):
    """Takes any file that a library loads, and keeps what it has."""

    input_name: str = ""
    seen: list[tuple[TensorFacts, ...]] = field(default_factory=list)

    def select(self, file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> Chosen:
        if not inputs or not outputs:
            raise RuntimeFileError(file, "inputs and outputs", f"{len(inputs)} inputs and {len(outputs)} outputs")
        self.seen[:] = [tuple(inputs), tuple(outputs)]
        return Chosen(inputs[0], None, None)


def inspect(path: Path, kind: FileKind) -> FileFacts:
    """Load a file from elsewhere and list what it has.

    Parameters
    ----------
    path : Path
        TFLite files are first run in a process of their own.
    kind : {"tflite", "onnx"}
        Which library reads it.

    Returns
    -------
    FileFacts
        Inputs and outputs by name.

    Raises
    ------
    RuntimeFileError
        If it is no file of that kind, or needs what the library does not have (custom operators, external data).
    """
    looked = _Everything()
    opened(path, kind, looked)
    content = read_model(path, str(path))[1]
    last = last_operators(content) if kind == "tflite" else {}
    return FileFacts(path, looked.seen[0], looked.seen[1], last, signatures(content))


def opened(path: Path, kind: FileKind, interface: ModelInterface) -> PatchRuntime:
    """Load a file from elsewhere; parameters and errors as of `inspect`.

    Where LiteRT refuses it and its tables show why no picture model could be run, they are quoted and not LiteRT.
    """
    from ecdd.runtimes.onnx import OnnxRuntime
    from ecdd.runtimes.tflite import TFLiteRuntime

    opener: Any = {"tflite": TFLiteRuntime, "onnx": OnnxRuntime}[kind]
    try:
        runtime: PatchRuntime = opener(path, interface=interface)
    except RuntimeFileError as error:
        if "LiteRT" in error.expected and path.is_file():  # it, and not the interface, refused the file
            refuse([(path, problem) for problem in _stated_problems(path)])
        raise
    return runtime


def _stated_problems(path: Path) -> list[tuple[str, str, str]]:
    """What the tables of a TFLite file say that no picture model has; nothing of a file whose tables are damaged."""
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        return []
    try:
        inputs, outputs = _stated_tensors(content)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, KeyError, AttributeError):
        return []
    return [*input_problems(FileFacts(path, inputs, outputs, {})), *output_problems(outputs)]


def _stated_tensors(content: bytes) -> tuple[tuple[TensorFacts, ...], tuple[TensorFacts, ...]]:
    """Inputs and outputs as the tables have them, without LiteRT; a few of each are enough."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    types = {value: key.lower() for key, value in vars(schema.TensorType).items() if not key.startswith("_")}

    def facts(index: int) -> TensorFacts:
        tensor, dtype = graph.Tensors(index), types[graph.Tensors(index).Type()]
        given = [tensor.ShapeSignature(k) for k in range(min(tensor.ShapeSignatureLength(), 8))]
        shape = given or [tensor.Shape(k) for k in range(min(tensor.ShapeLength(), 8))]
        said = tensor.Quantization()
        scaled = dtype in INTEGERS and said is not None and said.ScaleLength() == said.ZeroPointLength() == 1
        quantisation = AffineQuantisation(dtype, float(said.Scale(0)), int(said.ZeroPoint(0))) if scaled else None
        return TensorFacts(_text(tensor.Name() or b""), dtype, tuple(int(side) for side in shape), quantisation)

    return (
        tuple(facts(graph.Inputs(k)) for k in range(min(graph.InputsLength(), 8))),
        tuple(facts(graph.Outputs(k)) for k in range(min(graph.OutputsLength(), 8))),
    )


def last_operators(content: bytes) -> dict[str, str]:
    """The operator whose numbers each output of a TFLite file gives, past what only moves or recodes them.

    Parameters
    ----------
    content : bytes
        A file that LiteRT has loaded, or any other; of that nothing is said.

    Returns
    -------
    dict of str to str
        By the output's name in its signature, or the tensor's own.
    """
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        return {}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    names = {value: key for key, value in vars(schema.BuiltinOperator).items() if not key.startswith("_")}
    made_by = {int(index): operator for operator in graph.operators for index in operator.outputs}

    def operator_of(index: int) -> str:
        operator = made_by.get(index)
        if operator is None:
            return ""
        code = model.operatorCodes[operator.opcodeIndex]
        name = str(names.get(max(code.builtinCode, code.deprecatedBuiltinCode), ""))
        return operator_of(int(operator.inputs[0])) if name in _PASSING else name

    answered = {int(one.tensorIndex): _text(one.name) for part in model.signatureDefs or () for one in part.outputs}
    return {
        answered.get(int(index), _text(graph.tensors[int(index)].name)): operator_of(int(index))
        for index in graph.outputs
    }


def signatures(content: bytes) -> tuple[str, ...]:
    """Names under which a TFLite file can be called, those of its first graph first, which is the one that is computed.

    Parameters
    ----------
    content : bytes
        A file that a library has loaded.

    Returns
    -------
    tuple of str
        None of a file of another kind.
    """
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        return ()
    model = schema.Model.GetRootAs(content, 0)
    every = [model.SignatureDefs(index) for index in range(model.SignatureDefsLength())]
    return tuple(_text(one.SignatureKey() or b"") for one in sorted(every, key=lambda one: one.SubgraphIndex()))


def signature_note(file: str, names: tuple[str, ...]) -> str | None:
    """Say which of several signatures counts; None where there is no choice."""
    if len(names) < 2:
        return None
    return (
        f"{file} has the signatures {', '.join(names)}; {names[0]} is computed, its graph is the first: export the one "
        "that ships alone where that is wrong"
    )


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def input_problems(facts: FileFacts) -> list[tuple[str, str, str]]:
    """What keeps a file's input from being a face: expectation, finding, and what to do, one entry each.

    Parameters
    ----------
    facts : FileFacts
        Of one file.

    Returns
    -------
    list of (str, str, str)
        Empty where it is a square picture.
    """
    if len(facts.inputs) != 1:
        listed = "; ".join(map(str, facts.inputs)) or "none"
        return [("one input, the picture", listed, "export the model with the picture as its only input")]
    image, problems = facts.inputs[0], []
    if len(image.shape) != 4:
        what = "export the model for single pictures" if len(image.shape) == 5 else "export it with a picture as input"
        return [("a picture of 4 dimensions", f"{image}, {len(image.shape)} dimensions", what)]
    if any(side < 1 for side in image.shape[1:]):
        problems.append(("only the batch left open", str(image), "export it with height, width and colours fixed"))
    elif image.shape[1] != 3 and image.shape[3] != 3:
        problems.append(("three colours, first or last", str(image), "export it for colour pictures"))
    else:
        sides = image.shape[2:] if image.shape[1] == 3 else image.shape[1:3]
        if sides[0] != sides[1]:
            problems.append(("a square picture, as faces are cut", str(image), "export it with a square input"))
    if image.shape[0] not in {-1, 1}:
        problems.append(("a batch left open or fixed to 1", str(image), "export it so"))
    if image.dtype not in {"float32", "uint8", "int8", "int16"}:
        problems.append(("float32, uint8, int8 or int16", str(image), "export it with one of them"))
    if image.dtype in {"int8", "int16"} and image.quantisation is None:
        problems.append(("integers with a scale and a zero point", str(image), "quantise it again with its input's"))
    return problems


def output_problems(outputs: Sequence[TensorFacts]) -> list[tuple[str, str, str]]:
    """Say what keeps integers from being numbers; entries as of `input_problems`."""
    advice = "quantise it again with its output's, or export a float32 output"
    unscaled = [one for one in outputs if one.dtype in INTEGERS and one.quantisation is None]
    return [("integers with a scale and a zero point", str(one), advice) for one in unscaled]


def refuse(problems: list[tuple[Path, tuple[str, str, str]]]) -> None:
    """Raise one error for all problems of all files.

    Raises
    ------
    RuntimeFileError
        Where there are any: file, expected, found, what to do.
    """
    if not problems:
        return
    (first, (expected, found, advice)), *rest = problems
    more = "".join(f"\n{path}: expected {w}; found {f}; {a}" for path, (w, f, a) in rest)
    raise RuntimeFileError(str(first), expected, f"{found}; {advice}{more}")


def layout_of(image: TensorFacts) -> Literal["NHWC", "NCHW"]:
    """Where the colours of a picture are that `input_problems` found nothing wrong with."""
    return "NCHW" if image.shape[1] == 3 and image.shape[3] != 3 else "NHWC"
