"""Golden S4 tensors, and what the float reference and every mode of the bundle make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import calibration_of, modes, place
from ecdd.inference.calibration import AppliedCalibration
from ecdd.parity.float_vs_tflite import Side
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import ModelOutputs
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.tflite import TFLiteRuntime, wants_xnnpack

MODES = ("float32", "dynamic_range", "full_int8")
REFERENCE = "float32"
ONNX_FILE = "model.onnx"


@dataclass(frozen=True, eq=False)
class SameTensors:
    """Golden faces by name, their S4, and what the ONNX file makes of them."""

    names: list[str]
    batch: NDArray[np.float32]
    reference: ModelOutputs


@pytest.fixture(scope="session")
def same_tensors(golden: Any, frozen: Any, policy: Any, bundle: Any) -> SameTensors:
    """From frozen S3: nothing before the model takes part."""
    names, batch = [], []
    for item in golden.items:
        stored = frozen.picture(item.id)
        for index, face in enumerate(() if stored is None else stored.faces):
            names.append(f"{item.id} face {index}")
            batch.append(normalise(face.s3, policy.pixel_pipeline))
    assert names, "the golden set has no frozen face"
    tensors = np.stack(batch)
    return SameTensors(names, tensors, OnnxRuntime(bundle.read(ONNX_FILE)).outputs(tensors))


def held_to_limits(mode: str, policy: Any) -> bool:
    """Whether the contract's limits hold a mode, or it is only measured."""
    return mode in {policy.quantization.mode, *policy.quantization.releasable}


def runtime_of(bundle: Any, policy: Any, mode: str) -> TFLiteRuntime:
    """A mode's file in the pinned configuration."""
    content = bundle.read(place(bundle, mode, MODEL_FILE))
    settings = policy.runtime
    return TFLiteRuntime(content, threads=settings.threads, xnnpack=wants_xnnpack(settings.delegate), verified=True)


def side_of(bundle: Any, mode: str) -> Side:
    """A mode's own calibration and thresholds."""
    record = calibration_of(bundle, mode)
    return Side(AppliedCalibration.of(record), record.thresholds.t_real, record.thresholds.t_fake)


def missing(evidence: Any, bundle: Any, mode: str) -> bool:
    """Say that a mode is not tested where the bundle does not carry it."""
    if mode in modes(bundle):
        return False
    evidence.not_tested(f"mode {mode}", f"this bundle carries {', '.join(modes(bundle))}")
    return True
