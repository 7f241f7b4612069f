"""``pytest gates/g5 --benchmark-only``: one face through the float reference, and through every TFLite file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecdd.runtimes.onnx import OnnxRuntime
from gates.support.fixtures import Bundle, PolicyContract
from gates.support.mode_parity import SameTensors, runtime_of


def test_float_reference_speed(benchmark: Any, bundle: Bundle, same_tensors: SameTensors) -> None:
    runtime, face = OnnxRuntime(bundle.read("model.onnx")), same_tensors.batch[:1]
    outputs = benchmark(runtime.outputs, face)
    np.testing.assert_allclose(outputs.maps, same_tensors.reference.maps[:1], atol=1e-4)


def test_tflite_speed(
    benchmark: Any, bundle: Bundle, policy: PolicyContract, same_tensors: SameTensors, mode: str
) -> None:
    runtime, face = runtime_of(bundle, policy, mode), same_tensors.batch[:1]
    outputs = benchmark(runtime.outputs, face)
    assert outputs.maps.shape == same_tensors.reference.maps[:1].shape
    assert np.isfinite(outputs.maps).all()
