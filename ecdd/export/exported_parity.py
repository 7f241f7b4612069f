"""Compare the exported files with the float64 model they were made from, on given tensors."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from ecdd.export.export_error import ExportError
from ecdd.models.patch_network import PatchNetwork
from ecdd.parity.patch_map_parity import patch_parity
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.tflite import TFLiteRuntime


@dataclass(frozen=True)
class ExportParity:
    """How far the exported files are from the float64 reference.

    Attributes
    ----------
    tflite_max, onnx_max : float
        Max |difference| of a patch logit.
    spread : float
        Mean standard deviation of the reference map, logit: the scale to judge the differences by.
    n : int
        Number of tensors compared.
    """

    tflite_max: float
    onnx_max: float
    spread: float
    n: int


def reference_map(model: PatchNetwork, batch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the patch map in float64.

    Parameters
    ----------
    model : PatchNetwork
        Left as it was.
    batch : ndarray, float32, shape (N, S, S, 3)
        S4 tensors.

    Returns
    -------
    ndarray, float64, shape (N, rows, cols)
        Reference S5.
    """
    twin = copy.deepcopy(model).double().eval()
    with torch.inference_mode():
        maps = [twin(torch.from_numpy(x.transpose(2, 0, 1)[None].astype(np.float64)))[0].numpy() for x in batch]
    return cast("NDArray[np.float64]", np.stack(maps))


def tflite_map(data: bytes, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a TFLite file on one batch, one thread.

    Parameters
    ----------
    data : bytes
        TFLite file.
    batch : ndarray, float32, shape (N, S, S, 3)
        S4 tensors; the interpreter is resized to N.

    Returns
    -------
    ndarray, float32, shape (N, rows, cols)
        S5.
    """
    return TFLiteRuntime(data).patch_map(batch)


def onnx_map(data: bytes, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run an ONNX file on one batch, one thread; shapes as in `tflite_map`."""
    return OnnxRuntime(data).patch_map(batch)


def tflite_latency(data: bytes, input_size: int = 256, runs: int = 200) -> float:
    """Measure the median latency of one tensor on one thread, warm.

    Parameters
    ----------
    data : bytes
        TFLite file.
    input_size : int
        Side of the tensor, px.
    runs : int
        Number of timed calls.

    Returns
    -------
    float
        Milliseconds.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    _resize(interpreter, (1, input_size, input_size, 3))
    detail = interpreter.get_input_details()[0]
    index, shape, rng = detail["index"], (1, input_size, input_size, 3), np.random.default_rng(0)
    floating = np.issubdtype(detail["dtype"], np.floating)
    tensor = (rng.normal(size=shape) if floating else rng.integers(-100, 100, shape)).astype(detail["dtype"])
    times = []
    for _ in range(runs + 10):
        start = time.perf_counter()
        interpreter.set_tensor(index, tensor)
        interpreter.invoke()
        times.append(time.perf_counter() - start)
    return float(np.median(times[10:]) * 1e3)


def compare(model: PatchNetwork, tflite: bytes, onnx: bytes, batch: NDArray[np.float32], limit: float) -> ExportParity:
    """Compare both files with the model; refuse files that differ.

    Parameters
    ----------
    model : PatchNetwork
        Reference.
    tflite, onnx : bytes
        Exported files.
    batch : ndarray, float32, shape (N, S, S, 3)
        S4 tensors, N >= 1.
    limit : float
        Largest allowed max |difference| / spread of the map (contract: ``patch_grid.tolerance_s5``).

    Returns
    -------
    ExportParity
        The measured differences.

    Raises
    ------
    ExportError
        If a file's output is not finite, has another shape, or exceeds the limit.
    """
    reference = reference_map(model, batch)
    found = {}
    for name, out in (("tflite", tflite_map(tflite, batch)), ("onnx", onnx_map(onnx, batch))):
        if out.shape != reference.shape or not np.isfinite(out).all():
            msg = f"{name}: output of shape {out.shape}, expected finite values of shape {reference.shape}"
            raise ExportError(msg)
        parity = found[name] = patch_parity(reference, out)
        if not parity.relative <= limit:
            msg = (
                f"{name}: max |difference| of a patch logit {parity.max_difference:.3g} exceeds {limit:g} x the map's "
                f"spread {parity.spread:.3g} (patch_grid.tolerance_s5); the exported graph is not the model"
            )
            raise ExportError(msg)
    return ExportParity(found["tflite"].max_difference, found["onnx"].max_difference, parity.spread, len(batch))


def _resize(interpreter: object, shape: tuple[int, ...]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    assert isinstance(interpreter, Interpreter)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], list(shape))
    interpreter.allocate_tensors()
