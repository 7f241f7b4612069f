"""Ways to compute one network on the same tensors, each in its library's own layout, and their times in turns.

What is timed is the library: input already in its dtype and layout, outputs as it gives them. Only the way named
``ecdd runtime`` goes through the runtime protocol, with its checks, as `ecdd predict` does.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.export.tflite_export import INPUT_NAME
from ecdd.runtimes.base import MAP_NAME, POOLED_NAME, ModelOutputs
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.benchmarks.runtimes.model_files import ModelFile

LONG_TURN: Final = 0.05  # seconds; a way that needs as much for a call or two has fewer calls a turn
# seconds after a way with several threads: those that still spin would take time from the next way
PAUSE: Final = 0.02
EAGER, COMPILED, ONNX, TFLITE, OURS = "torch eager", "torch.compile", "ONNX Runtime", "TFLite", "ecdd runtime"
Tensors = Sequence[NDArray[np.float32]]


def nothing() -> None:
    """For ways that need no setting up before their turn."""


@dataclass(eq=False)
class Way:
    """One way, and what was seen of it.

    Attributes
    ----------
    runtime, mode, delegate : str
        Library, name of the file, and who computes.
    threads : int
        Of the library.
    inputs : sequence
        What `call` is given, one batch each.
    call : callable
        What is timed.
    outputs : callable
        From what `call` returns to maps and pooled logits; not timed.
    select : callable
        Called before its turn.
    seconds : list of float
        Of every timed call.
    answers : dict of int to list of ModelOutputs
        Of every timed call, by place of its input.
    """

    runtime: str
    mode: str
    delegate: str
    threads: int
    inputs: Sequence[Any]
    call: Callable[[Any], Any]
    outputs: Callable[[Any], ModelOutputs]
    select: Callable[[], None] = nothing
    seconds: list[float] = field(default_factory=list)
    answers: dict[int, list[ModelOutputs]] = field(default_factory=dict)
    _next: int = 0

    @property
    def name(self) -> str:
        """All that tells it from the other ways of its group."""
        return f"{self.runtime} {self.mode} {self.delegate} {self.threads}"

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Seconds."""
        return min(self.seconds)

    def turn(self, most: int) -> None:
        """One untimed call, which wakes threads and fills caches, and up to ``most`` timed ones on the next inputs."""
        self.select()
        start = time.perf_counter()
        self.call(self.inputs[self._next])
        calls = max(1, min(most, int(LONG_TURN / (time.perf_counter() - start))))
        for _ in range(calls):
            place, self._next = self._next, (self._next + 1) % len(self.inputs)
            start = time.perf_counter()
            raw = self.call(self.inputs[place])
            self.seconds.append(time.perf_counter() - start)
            self.answers.setdefault(place, []).append(self.outputs(raw))

    def forget(self) -> None:
        """Drop what a warm-up round left."""
        self.seconds.clear()
        self.answers.clear()
        self._next = 0


def in_turns(ways: Sequence[Way], number: int, calls: int) -> None:
    """One round: every way has its turn, in an order that each round draws anew, so that none follows always the same.

    Parameters
    ----------
    ways : sequence of Way
        One group.
    number : int
        Of the round; it seeds the order.
    calls : int
        Timed calls of a turn, at most.
    """
    for place in np.random.default_rng(number).permutation(len(ways)):
        ways[place].turn(calls)
        if ways[place].threads > 1:
            time.sleep(PAUSE)


def torch_ways(model: Any, tensors: Tensors, threads: Sequence[int]) -> list[Way]:
    """Eager torch with unfolded weights, NCHW."""
    return [_torch_way(EAGER, model, model, tensors, count) for count in threads]


def compiled_way(model: Any, tensors: Tensors, threads: int) -> tuple[Way | None, str]:
    """The same network through ``torch.compile``; None and why, where that cannot be had here."""
    import torch

    torch.set_num_threads(threads)
    torch._dynamo.reset()
    way = _torch_way(COMPILED, torch.compile(model, dynamic=False), model, tensors, threads)
    try:
        for given in way.inputs:
            way.call(given)
    except Exception as error:  # noqa: BLE001 - its back ends and the compiler behind them share no class
        lines = str(error).strip().splitlines() or ["no message"]
        return None, f"{type(error).__name__}: {lines[0][:160]}"
    return way, ""


def _torch_way(runtime: str, function: Any, model: Any, tensors: Tensors, threads: int) -> Way:
    import torch

    inputs = [torch.from_numpy(np.ascontiguousarray(one.transpose(0, 3, 1, 2))) for one in tensors]

    def call(given: Any) -> Any:
        with torch.inference_mode():
            return function(given)

    def outputs(maps: Any) -> ModelOutputs:
        return ModelOutputs((maps.squeeze(1) if maps.ndim == 4 else maps).numpy(), None)

    capability = torch.backends.cpu.get_cpu_capability()
    return Way(runtime, "float32", capability, threads, inputs, call, outputs, lambda: torch.set_num_threads(threads))


def onnx_ways(content: bytes, tensors: Tensors, threads: Sequence[int]) -> list[Way]:
    """ONNX Runtime on its CPU provider."""
    import onnxruntime

    found = []
    for count in threads:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count, 1
        options.add_session_config_entry("session.force_spinning_stop", "1")  # or it takes time from the next way
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_outputs()]

        def call(given: Any, session: Any = session, names: list[str] = names) -> Any:
            return session.run(names, {INPUT_NAME: given})

        def outputs(raw: Any, names: list[str] = names) -> ModelOutputs:
            by_name = dict(zip(names, raw, strict=True))
            return ModelOutputs(by_name[MAP_NAME], by_name.get(POOLED_NAME))

        found.append(Way(ONNX, "float32", "CPU provider", count, tensors, call, outputs))
    return found


def tflite_way(file: ModelFile, tensors: Tensors, threads: int, *, xnnpack: bool) -> Way:
    """LiteRT's interpreter alone; an integer file is given integers."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter: Any = Interpreter(
            model_content=file.content, num_threads=threads, experimental_op_resolver_type=resolver
        )
    (given,) = interpreter.get_input_details()
    index = given["index"]
    interpreter.resize_tensor_input(index, tensors[0].shape, strict=True)
    interpreter.allocate_tensors()
    by_rank = {len(one["shape"]): one for one in interpreter.get_output_details()}
    known = [by_rank[rank] for rank in (3, 1) if rank in by_rank]  # map and pooled logit
    quantisation = _affine(given)
    inputs = [one if quantisation is None else quantisation.quantise(one) for one in tensors]

    def call(tensor: Any) -> Any:
        interpreter.set_tensor(index, tensor)
        interpreter.invoke()
        return [interpreter.get_tensor(one["index"]) for one in known]

    def outputs(raw: Any) -> ModelOutputs:
        values = [_numbers(detail, tensor) for detail, tensor in zip(known, raw, strict=True)]
        return ModelOutputs(values[0], values[1] if len(values) > 1 else None)

    delegated = sum(step["op_name"] == "DELEGATE" for step in interpreter._get_ops_details())
    assert bool(delegated) == xnnpack, f"{file.name}: XNNPACK was {'not ' if xnnpack else ''}in the plan"
    return Way(TFLITE, file.name, "xnnpack" if delegated else "none", threads, inputs, call, outputs)


def shipped_way(file: ModelFile, tensors: Tensors, threads: int) -> Way:
    """The runtime protocol over the same file, with its checks."""
    runtime = TFLiteRuntime(file.content, threads=threads, verified=True)
    return Way(OURS, file.name, "xnnpack", threads, tensors, runtime.outputs, lambda answer: answer)


def _affine(detail: dict[str, Any]) -> AffineQuantisation | None:
    dtype, parameters = np.dtype(detail["dtype"]).name, detail["quantization_parameters"]
    if dtype == "float32":
        return None
    return AffineQuantisation(dtype, float(parameters["scales"][0]), int(parameters["zero_points"][0]))


def _numbers(detail: dict[str, Any], tensor: NDArray[Any]) -> NDArray[np.float32]:
    quantisation = _affine(detail)
    return tensor if quantisation is None else quantisation.dequantise(tensor)
