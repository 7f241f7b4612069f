"""ONNX Runtime behind the runtime protocol."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.runtimes.base import Description, ModelOutputs, RuntimeFileError
from ecdd.runtimes.model_file import read_model, recognise
from ecdd.runtimes.model_interface import OPEN, ModelInterface, TensorFacts, check_answer, check_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUIET: Final = 4  # what is wrong with a file is in the exception
_DTYPES: Final = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


class OnnxRuntime:
    """One ONNX model in one CPU session.

    Parameters
    ----------
    model : Path or bytes
        The file, or its content.
    threads : int
        Threads inside an operator.
    interface : ModelInterface, optional
        What inputs and outputs must be; by default the names alone are asked for.
    name : str
        For messages, where content is given.

    Raises
    ------
    ImportError
        Without the extra ``gates``.
    RuntimeFileError
        If the file is not a model that ONNX Runtime can load, or its inputs or outputs are others.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        interface: ModelInterface | None = None,
        name: str = "ONNX file",
    ) -> None:
        import onnxruntime

        file, content = read_model(model, name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        try:
            self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no class but this
            said = (str(error).splitlines() or [type(error).__name__])[0][:200]
            found = f"{recognise(content)}: {said}{_advice(said)}"
            raise RuntimeFileError(file, "an ONNX file that ONNX Runtime can load", found) from error
        inputs, outputs = (
            [_facts(one) for one in side] for side in (self._session.get_inputs(), self._session.get_outputs())
        )
        self.interface = interface or ModelInterface()
        self.chosen = self.interface.select(file, inputs, outputs)
        self._input, self.every = self.chosen.image, outputs
        self._file, self._content, self._threads = file, content, threads
        self._library = f"onnxruntime {onnxruntime.__version__}"

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute map and logit; shapes as in `ModelOutputs`."""
        wanted = [tensor for tensor in self.chosen[1:] if tensor is not None]
        return self.interface.answer(self._file, self.chosen, self._run(batch, wanted))

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute patch-logit maps; shapes as in `PatchRuntime`."""
        return self.outputs(batch).maps

    def named_outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Compute every output as it is, by name."""
        return self._run(batch, self.every)

    def _run(self, batch: NDArray[np.float32], wanted: list[TensorFacts]) -> dict[str, NDArray[np.float32]]:
        given = self.interface.native(batch)
        check_batch(given, self._input)
        if self._input.quantisation is not None:
            given = self._input.quantisation.quantise(given)
        names = [tensor.name for tensor in wanted]
        if self._input.shape[0] == OPEN:
            found = [np.asarray(one) for one in self._session.run(names, {self._input.name: given})]
        else:  # a file for one picture at a time
            alone = [self._session.run(names, {self._input.name: given[k : k + 1]}) for k in range(len(given))]
            found = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
        for stated, tensor in zip(wanted, found, strict=True):
            check_answer(self._file, stated, tensor, len(batch))
        return dict(zip(names, found, strict=True))

    def describe(self) -> Description:
        """All that can change a number."""
        from ecdd.runtimes.processor import processor

        return {
            "runtime": "onnx",
            "library": self._library,
            "delegate": "+".join(self._session.get_providers()),
            "threads": self._threads,
            "preserve_all_tensors": False,
            "model_sha256": hashlib.sha256(self._content).hexdigest(),
            "processor": processor(),
            "inputs": str(self._input),
            "outputs": "; ".join(str(tensor) for tensor in self.every),
        }


def _advice(said: str) -> str:
    """What to do about what ONNX Runtime said, where that is known."""
    if "xternal" in said or "model_path must not be empty" in said:
        return "; its weights lie in another file: save them inside, onnx.save(model, path)"
    if "not a registered" in said or "No Op registered" in said:
        return "; export it with standard operators only"
    return ""


def _facts(about: Any) -> TensorFacts:  # noqa: ANN401 - onnxruntime has no types
    shape = tuple(side if isinstance(side, int) else OPEN for side in about.shape)
    return TensorFacts(about.name, _DTYPES.get(about.type, about.type), shape)
