"""Bundles for the rehearsal, really made: the shipped one after something that a careless release could do to it.

The damage is such that it shows whatever the network: the golden stream has 7 and 9 photographs of its classes, which
prove only what happens to nearly all of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ecdd.bundle import Bundle, load_bundle, write_manifest
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.loading import read_record
from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE
from ecdd.files import write_bytes

Change = Callable[[Any, np.random.Generator], Any]
SEED = 7


def _noisy(weights: Any, rng: np.random.Generator) -> Any:
    """Noise of the weights' own spread: a conversion that went wrong everywhere."""
    return weights + rng.normal(0.0, weights.std(), weights.shape).astype(np.float32)


def _shuffled(weights: Any, rng: np.random.Generator) -> Any:
    """Channels taken in another order than the layer before gives them: a conversion that mixed up its axes."""
    return weights[..., rng.permutation(weights.shape[-1])]


def _poisoned(weights: Any, rng: np.random.Generator) -> Any:
    """NaN in every kernel: an overflow in training that nobody looked at. The detector refuses such an answer."""
    return np.full_like(weights, np.nan)


def with_changed_weights(model: bytes, change: Change) -> bytes:
    """A TFLite file with every float kernel of a convolution changed, everything else as it was.

    Parameters
    ----------
    model : bytes
        TFLite file.
    change : callable
        Kernel, shape (O, ...), and generator to kernel.

    Returns
    -------
    bytes
        Of the same length: the buffers are rewritten where they lie.
    """
    from ai_edge_litert import schema_py_generated as schema

    content, rng = bytearray(model), np.random.default_rng(SEED)
    read = schema.Model.GetRootAs(content, 0)
    graph, kernels = read.Subgraphs(0), 0
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        buffer = read.Buffers(tensor.Buffer())
        if tensor.Type() != schema.TensorType.FLOAT32 or tensor.ShapeLength() != 4 or not buffer.DataLength():
            continue
        values = buffer.DataAsNumpy().view(np.float32)  # a view into content
        values[:] = change(values.reshape(tensor.ShapeAsNumpy()).copy(), rng).reshape(-1)
        kernels += 1
    assert kernels, "the model has no float kernel to change"
    return bytes(content)


def _copied(bundle: Bundle, folder: Path) -> Path:
    shutil.copytree(bundle.path, folder, ignore=shutil.ignore_patterns("variants", "release", "golden_outputs"))
    return folder


def _degraded(bundle: Bundle, folder: Path, change: Change) -> Bundle:
    """Change the weights and let the calibration claim the new file: only the stream can tell."""
    _copied(bundle, folder)
    model = with_changed_weights(bundle.read(MODEL_FILE), change)
    write_bytes(folder / MODEL_FILE, model)
    record = read_record(folder, CALIBRATION_FILE, CalibrationRecord)
    claimed = record.model_copy(update={"fitted_on_model_sha256": hashlib.sha256(model).hexdigest()})
    write_bytes(folder / CALIBRATION_FILE, claimed.text())
    write_manifest(folder)
    return load_bundle(folder)


def noisy_weights(bundle: Bundle, folder: Path) -> Bundle:
    return _degraded(bundle, folder, _noisy)


def shuffled_channels(bundle: Bundle, folder: Path) -> Bundle:
    return _degraded(bundle, folder, _shuffled)


def poisoned_weights(bundle: Bundle, folder: Path) -> Bundle:
    return _degraded(bundle, folder, _poisoned)


def slow_kernels(bundle: Bundle, folder: Path) -> Bundle:
    """The same weights on LiteRT's reference kernels, without XNNPACK."""
    _copied(bundle, folder)
    bundle.contract.with_values({"runtime.delegate": "none"}).dump(folder / CONTRACT_FILE)
    write_manifest(folder)
    return load_bundle(folder)


def foreign_calibration(bundle: Bundle, folder: Path) -> Bundle:
    """The calibration of a model whose logits are ten times as large: hardly a probability leaves the middle."""
    _copied(bundle, folder)
    record = read_record(folder, CALIBRATION_FILE, CalibrationRecord)
    line = {"temperature": 10 * record.temperature, "bias": 0.0}
    curve = {"knots": tuple((logit, calibrated / 10) for logit, calibrated in record.knots)}
    write_bytes(folder / CALIBRATION_FILE, record.model_copy(update=curve if record.knots else line).text())
    write_manifest(folder)
    return load_bundle(folder)


def same(bundle: Bundle, _folder: Path) -> Bundle:
    return bundle


DEGRADED = ("noisy_weights", "shuffled_channels", "foreign_calibration")
CANDIDATES: dict[str, Callable[[Bundle, Path], Bundle]] = {
    one.__name__: one
    for one in (same, noisy_weights, shuffled_channels, foreign_calibration, poisoned_weights, slow_kernels)
}
