"""LiteRT behind the runtime protocol: the library that the phones run."""

from __future__ import annotations

import threading
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.runtimes.base import (
    INPUT_NAME,
    MAP_NAME,
    POOLED_NAME,
    DelegateError,
    Description,
    ModelOutputs,
    RuntimeFileError,
)
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.litert_messages import without_information
from ecdd.runtimes.model_file import read_model, recognise
from ecdd.runtimes.model_interface import OPEN, ModelInterface, TensorFacts, check_answer, check_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OWN_NAMES: Final = (INPUT_NAME, MAP_NAME, POOLED_NAME)
# Delegates that this project names and that LiteRT's interpreter for desktops does not have.
NOT_HERE: Final = {
    "nnapi": "NNAPI is a service of Android",
    "gpu": "the interpreter's GPU delegates are Android and iOS libraries",
    "coreml": "Core ML is a service of Apple's systems",
    "hexagon": "Hexagon is a processor of Qualcomm's",
    "edgetpu": "it needs a Coral device and its library",
}


def wants_xnnpack(delegate: str) -> bool:
    """Translate the contract's ``runtime.delegate``.

    Parameters
    ----------
    delegate : str
        ``"xnnpack"`` or ``"none"``; the names in `NOT_HERE` are known too.

    Returns
    -------
    bool
        For `TFLiteRuntime`.

    Raises
    ------
    DelegateError
        For a delegate that cannot be had here, or an unknown one.
    """
    if delegate in {"xnnpack", "none"}:
        return delegate == "xnnpack"
    why = NOT_HERE.get(delegate, "no such delegate is known")
    msg = f"delegate {delegate!r} cannot be had here: {why}; use xnnpack or none. What it computes is not tested"
    raise DelegateError(msg)


class TFLiteRuntime:
    """One TFLite model in one interpreter. Threads may share it: calls are serialised.

    Parameters
    ----------
    model : Path or bytes
        A file from elsewhere, which is first run in a process of its own; or content.
    threads : int
        Threads of the interpreter.
    xnnpack : bool
        Whether the XNNPACK delegate computes.
    preserve_all : bool
        Whether every tensor is kept for inspection; another configuration, never the shipped one.
    interface : ModelInterface, optional
        What inputs and outputs must be; by default the names alone are asked for.
    name : str
        For messages, where content is given.
    verified : bool
        Whether a digest vouches for the content, as a bundle's does: its tables are then not looked at again.
    foreign : bool
        Whether the content is that of a file from elsewhere.

    Raises
    ------
    RuntimeFileError
        If the file is not a model that LiteRT can load, or its inputs or outputs are others.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        xnnpack: bool = True,
        preserve_all: bool = False,
        interface: ModelInterface | None = None,
        name: str = "TFLite file",
        verified: bool = False,
        foreign: bool = False,
    ) -> None:
        file, content = read_model(model, name)
        if content[4:8] != b"TFL3":
            raise RuntimeFileError(file, "a TFLite file (TFL3 at byte 4)", recognise(content))
        build = partial(_interpreter, file, content, threads, xnnpack=xnnpack, preserve_all=preserve_all)
        if verified:
            self._interpreter = build()
        else:
            from ecdd.runtimes import tflite_file  # not for the fast path

            tflite_file.check_graph(file, content)
            if foreign or isinstance(model, Path):  # from elsewhere: what it can do is seen where it can do no harm
                tflite_file.try_in_own_process(file, content, xnnpack=xnnpack)
            self._interpreter = build()
            tflite_file.check_tables(file, content)
        self.interface = interface or ModelInterface()
        inputs, outputs = _tensors(self._interpreter, self.interface)
        given, answered = ([_facts(*pair) for pair in side] for side in (inputs, outputs))
        self.chosen = self.interface.select(file, given, answered)
        self._input, self._input_index = self.chosen.image, inputs[0][1]["index"]
        self.every = answered
        self._output_indices = [pair[1]["index"] for pair in outputs]
        self._file, self._batch = file, 0
        self._lock = threading.Lock()  # an interpreter has one set of buffers
        self._content = content
        self._about: Description = {"threads": threads, "preserve_all_tensors": preserve_all}

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute patch-logit maps.

        Parameters
        ----------
        batch : ndarray, float32, shape (N, 256, 256, 3)
            S4 tensors.

        Returns
        -------
        ndarray, float32, shape (N, rows, cols)
            S5.
        """
        return self.outputs(batch).maps

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute map and logit; shapes as in `ModelOutputs`."""
        return self.interface.answer(self._file, self.chosen, self.named_outputs(batch))

    def named_outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Compute every output as it is, by name; integers as the numbers that they stand for."""
        native = self.interface.native(batch)
        check_batch(native, self._input)
        quantisation = self._input.quantisation
        given = native if quantisation is None else quantisation.quantise(native)
        with self._lock:
            if self._input.shape[0] == OPEN:
                found = self._invoke(given)
            else:  # a file for one picture at a time
                alone = [self._invoke(given[index : index + 1]) for index in range(len(given))]
                found = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
        values = {}
        for facts, tensor in zip(self.every, found, strict=True):
            values[facts.name] = tensor if facts.quantisation is None else facts.quantisation.dequantise(tensor)
            check_answer(self._file, facts, values[facts.name], len(batch))
        return values

    def _invoke(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            self._allocate(batch.shape)
            self._interpreter.set_tensor(self._input_index, np.ascontiguousarray(batch))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:  # the batch has been checked: it is the file
            self._batch = 0
            expected = f"a model that computes a batch of shape {batch.shape}"
            raise RuntimeFileError(self._file, expected, _first_line(error)) from error
        return [np.asarray(self._interpreter.get_tensor(index)) for index in self._output_indices]

    def _allocate(self, shape: tuple[int, ...]) -> None:
        if shape[0] != self._batch:
            self._batch = 0  # were the next lines to fail, the following call must not trust the old shape
            self._interpreter.resize_tensor_input(self._input_index, shape, strict=True)
            with without_information():
                self._interpreter.allocate_tensors()
            self._batch = shape[0]

    def describe(self) -> Description:
        """All that can change a number; the delegate is the one seen at work in the interpreter's own plan."""
        import hashlib
        from importlib.metadata import version

        from ecdd.runtimes.processor import processor

        with self._lock:
            if not self._batch:  # the plan is made with the memory
                sides = self._interpreter.get_input_details()[0]["shape"]
                self._allocate((1, *(int(side) for side in sides[1:])))
            # by the plan, not by what was asked for: a delegate may decline a graph
            delegated = sum(step["op_name"] == "DELEGATE" for step in self._interpreter._get_ops_details())
        return {
            "runtime": "tflite",
            "library": f"ai-edge-litert {version('ai-edge-litert')}",
            "delegate": "xnnpack" if delegated else "none",
            **self._about,
            "model_sha256": hashlib.sha256(self._content).hexdigest(),
            "processor": processor(),
            "inputs": str(self._input),
            "outputs": "; ".join(str(facts) for facts in self.every),
        }


def _interpreter(file: str, content: bytes, threads: int, *, xnnpack: bool, preserve_all: bool) -> Any:  # noqa: ANN401
    """An interpreter of the content; LiteRT's own refusals become ours."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with without_information(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that preserving costs memory: it was asked for
            return Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=preserve_all,
            )
    except (ValueError, RuntimeError) as error:
        raise RuntimeFileError(file, "a TFLite file that LiteRT can load", _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _tensors(interpreter: Any, interface: ModelInterface) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:  # noqa: ANN401
    """Inputs and outputs as (name, details); names are the signature's, or the tensors' own where the file has none.

    Where this project's own names are asked for, the ranks of a file without a signature tell its outputs apart.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    signatures = interpreter._get_full_signature_list()
    if len(signatures) > 1:  # of several graphs the first is computed, whatever another signature is called
        first = [key for key in signatures if interpreter.get_signature_runner(key)._subgraph_index == 0]
        signatures = {key: signatures[key] for key in first}
    names = signatures.get("serving_default") or next(iter(signatures.values()), None)
    if names is None:
        ours = (interface.input_name, interface.map_name, interface.pooled_name) == _OWN_NAMES
        by_rank = {1: POOLED_NAME, 3: MAP_NAME} if ours else {}
        named = [(by_rank.get(len(one["shape_signature"]), one["name"]), one) for one in outputs]
        return [(INPUT_NAME if ours and len(inputs) == 1 else one["name"], one) for one in inputs], named
    given, answered = ({index: name for name, index in names[side].items()} for side in ("inputs", "outputs"))
    return (
        [(given.get(one["index"], one["name"]), one) for one in inputs],
        [(answered.get(one["index"], one["name"]), one) for one in outputs],
    )


def _facts(name: str, detail: dict[str, Any]) -> TensorFacts:
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    dtype, parameters = np.dtype(detail["dtype"]).name, detail["quantization_parameters"]
    quantisation = None
    if dtype != "float32" and len(parameters["scales"]) == len(parameters["zero_points"]) == 1:
        quantisation = AffineQuantisation(dtype, float(parameters["scales"][0]), int(parameters["zero_points"][0]))
    return TensorFacts(name, dtype, tuple(int(side) for side in shape), quantisation)
