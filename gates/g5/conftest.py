"""Golden S4 tensors, and what the float reference and every mode of the bundle make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import modes, place
from ecdd.evidence.pytest_plugin import RUN
from ecdd.parity.layer_outputs import computes_in_integers
from ecdd.parity.pair_comparison import Sample
from ecdd.parity.parity_metric import ParityLimits, ParityMetric
from ecdd.parity.runtime_pair import Side, calibration_for, open_side
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import ModelOutputs
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.tflite import TFLiteRuntime, wants_xnnpack

MODES = ("float32", "dynamic_range", "full_int8")
FLOAT = "float32"
ONNX_FILE = "model.onnx"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every mode that a bundle is meant to carry, and every other one that this bundle carries too."""
    chosen = any(mark.args[0] == "mode" for mark in metafunc.definition.iter_markers("parametrize"))
    if "mode" in metafunc.fixturenames and not chosen:
        metafunc.parametrize(
            "mode", list(dict.fromkeys((*MODES, *_carried(metafunc.config.stash[RUN].options.bundle))))
        )


@cache
def _carried(path: Path | None) -> tuple[str, ...]:
    try:
        return modes(load_bundle(path))
    except BundleError:  # said by the fixture, test by test
        return ()


@dataclass(frozen=True, eq=False)
class SameTensors:
    """Golden faces, and what the ONNX file makes of them: the class *same tensor*."""

    samples: list[Sample]
    batch: NDArray[np.float32]
    reference: ModelOutputs

    @property
    def names(self) -> list[str]:
        return [sample.name for sample in self.samples]


@pytest.fixture(scope="session")
def same_tensors(golden: Any, frozen: Any, policy: Any, bundle: Any) -> SameTensors:
    """From frozen S3: nothing before the model takes part."""
    samples = []
    for item in golden.items:
        stored = frozen.picture(item.id)
        for index, face in enumerate(() if stored is None else stored.faces):
            samples.append(Sample(f"{item.id} face {index}", face.s3, normalise(face.s3, policy.pixel_pipeline)))
    assert samples, "the golden set has no frozen face"
    batch = np.stack([sample.s4 for sample in samples])
    return SameTensors(samples, batch, OnnxRuntime(bundle.read(ONNX_FILE)).outputs(batch))


def runtime_of(bundle: Any, policy: Any, mode: str) -> TFLiteRuntime:
    """A mode's file in the pinned configuration."""
    content = bundle.read(place(bundle, mode, MODEL_FILE))
    settings = policy.runtime
    return TFLiteRuntime(content, threads=settings.threads, xnnpack=wants_xnnpack(settings.delegate), verified=True)


def side_of(bundle: Any, policy: Any, what: str) -> Side:
    """The reference (``onnx``) or a mode's file, with its own calibration, in the pinned configuration."""
    from ecdd.parity.found_layout import TensorNames
    from ecdd.parity.runtime_pair import RuntimeSettings

    settings = RuntimeSettings(policy.runtime.threads, wants_xnnpack(policy.runtime.delegate))
    return open_side(f"bundle:{bundle.path}:{what}", TensorNames(), settings)


def calibrated(bundle: Any, mode: str) -> Any:
    """A mode's own calibration and thresholds."""
    return calibration_for(bundle, mode, "its own model")


def limits_of(bundle: Any, policy: Any, mode: str) -> ParityLimits | None:
    """What the contract holds a mode to: None where it neither ships nor may ship, and so is only measured."""
    if mode not in {policy.quantization.mode, *policy.quantization.releasable}:
        return None
    if mode == FLOAT:  # the same numbers, by another library
        return ParityLimits.exact(policy)
    return ParityLimits.quantised(policy, integers=computes_in_integers(side_of(bundle, policy, mode)))


def record(evidence: Any, mode: str, metrics: Sequence[ParityMetric]) -> None:
    """Store metrics: those with a limit are held to it, and all must be numbers."""
    for one in metrics:
        name = f"{mode}.{one.name}"
        if one.limit is None:
            evidence.measure(name, one.value if one.value is not None else "not a number", one.unit)
        else:
            evidence.check(
                name, one.value, limit=one.limit, op=one.op, unit=one.unit, worst=one.worst or None, n=one.n,
                clause=one.clause,
            )  # fmt: skip
    unknown = [one.name for one in metrics if one.value is None]
    evidence.check(f"{mode}.not_measured", len(unknown), limit=0, op="==", worst=unknown[:3], n=len(metrics))


def missing(evidence: Any, bundle: Any, mode: str) -> bool:
    """Say that a mode is not tested where the bundle does not carry it."""
    if mode in modes(bundle):
        return False
    evidence.not_tested(f"mode {mode}", f"this bundle carries {', '.join(modes(bundle))}")
    return True
