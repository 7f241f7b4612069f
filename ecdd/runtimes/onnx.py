"""ONNX Runtime behind the runtime protocol."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecdd.runtimes.base import MAP_NAME, POOLED_NAME, ModelOutputs, RuntimeFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OnnxRuntime:
    """One ONNX model in one CPU session.

    Parameters
    ----------
    model : Path or bytes
        The file, or its content.
    threads : int
        Threads inside an operator.

    Raises
    ------
    ImportError
        Without the extra ``gates``.
    RuntimeFileError
        If its outputs are others.
    """

    def __init__(self, model: Path | bytes, *, threads: int = 1) -> None:
        import onnxruntime

        content = model if isinstance(model, bytes) else model.read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        found = {output.name: len(output.shape) for output in self._session.get_outputs()}
        if found.get(MAP_NAME) != 3 or found.get(POOLED_NAME, 1) != 1:
            msg = (
                f"outputs (name: dimensions) are {found}; needed is {MAP_NAME}: 3, and {POOLED_NAME}: 1 if it is there"
            )
            raise RuntimeFileError(msg)
        self._names = [name for name in (MAP_NAME, POOLED_NAME) if name in found]
        self._about: dict[str, str | int | bool] = {
            "runtime": "onnx",
            "library": f"onnxruntime {onnxruntime.__version__}",
            "delegate": "CPUExecutionProvider",
            "threads": threads,
            "model_sha256": hashlib.sha256(content).hexdigest(),
        }

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute map and pooled logit; shapes as in `ModelOutputs`."""
        found = self._session.run(self._names, {self._input: batch})
        return ModelOutputs(np.asarray(found[0]), np.asarray(found[1]) if len(found) > 1 else None)

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute patch-logit maps; shapes as in `PatchRuntime`."""
        return np.asarray(self._session.run(self._names[:1], {self._input: batch})[0])

    def describe(self) -> dict[str, str | int | bool]:
        """All that can change a number."""
        return dict(self._about)
