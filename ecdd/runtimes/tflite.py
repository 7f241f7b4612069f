"""LiteRT behind the runtime protocol: the library that the phones run."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecdd.runtimes.base import ModelOutputs, RuntimeFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TFLiteRuntime:
    """One TFLite model in one interpreter. Threads may share it: calls are serialised.

    Parameters
    ----------
    model : Path or bytes
        The file, or its content.
    threads : int
        Threads of the interpreter.
    xnnpack : bool
        Whether the XNNPACK delegate computes.

    Raises
    ------
    ValueError
        If the file is not a model that LiteRT can load, or (`RuntimeFileError`) its outputs are others.
    """

    def __init__(self, model: Path | bytes, *, threads: int = 1, xnnpack: bool = True) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        content = model if isinstance(model, bytes) else model.read_bytes()
        resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter: Any = Interpreter(
            model_content=content, num_threads=threads, experimental_op_resolver_type=resolver
        )
        self._input = self._interpreter.get_input_details()[0]
        self._map, self._pooled = _outputs_by_shape(self._interpreter.get_output_details())
        self._batch = 0
        self._lock = threading.Lock()  # an interpreter has one set of buffers
        self._about: dict[str, str | int | bool] = {
            "runtime": "tflite",
            "library": _library_version(),
            "delegate": "xnnpack" if xnnpack else "none",
            "threads": threads,
            "model_sha256": hashlib.sha256(content).hexdigest(),
        }

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
        """Compute map and pooled logit; shapes as in `ModelOutputs`."""
        with self._lock:
            if batch.shape[0] != self._batch:
                self._batch = 0  # were the next lines to fail, the following call must not trust the old shape
                self._interpreter.resize_tensor_input(self._input["index"], batch.shape, strict=True)
                self._interpreter.allocate_tensors()
                self._batch = batch.shape[0]
            self._interpreter.set_tensor(self._input["index"], np.ascontiguousarray(batch))
            self._interpreter.invoke()
            maps = np.asarray(self._interpreter.get_tensor(self._map["index"]))
            pooled = None if self._pooled is None else np.asarray(self._interpreter.get_tensor(self._pooled["index"]))
        return ModelOutputs(maps, pooled)

    def describe(self) -> dict[str, str | int | bool]:
        """All that can change a number."""
        return dict(self._about)


def _outputs_by_shape(details: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The map and the pooled logit among the outputs, whatever their order: names of a TFLite file are not kept."""
    by_rank = {len(detail["shape_signature"]): detail for detail in details}
    if len(by_rank) != len(details) or not {3} <= set(by_rank) <= {1, 3}:
        shapes = [detail["shape_signature"].tolist() for detail in details]
        msg = f"outputs have shapes {shapes}; needed is a patch-logit map (N, rows, cols), pooled logits (N,) if any"
        raise RuntimeFileError(msg)
    return by_rank[3], by_rank.get(1)


def _library_version() -> str:
    from importlib.metadata import version

    return f"ai-edge-litert {version('ai-edge-litert')}"
