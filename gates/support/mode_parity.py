"""The float reference, every mode of a bundle, and what the contract holds a mode to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.bundle.loading import Bundle
from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import place
from ecdd.contract.schema import PolicyContract
from ecdd.evidence.collecting import Evidence
from ecdd.golden.golden_hashes import FrozenStages
from ecdd.golden.golden_sets import GoldenItem
from ecdd.parity.found_layout import TensorNames
from ecdd.parity.layer_outputs import computes_in_integers
from ecdd.parity.pair_comparison import Sample
from ecdd.parity.parity_metric import ParityLimits, ParityMetric
from ecdd.parity.runtime_pair import Side, open_side
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import ModelOutputs, PatchRuntime
from ecdd.runtimes.registry import RuntimeSettings, load_runtime
from ecdd.runtimes.tflite import wants_xnnpack

FLOAT = "float32"
REFERENCE = "onnx"  # the float reference, as a side of a comparison


@dataclass(frozen=True, eq=False)
class Tensors:
    """Golden faces and their S4 as one batch (n, H, W, 3)."""

    samples: list[Sample]
    batch: NDArray[np.float32]

    @property
    def names(self) -> list[str]:
        return [sample.name for sample in self.samples]


@dataclass(frozen=True, eq=False)
class SameTensors(Tensors):
    """Tensors, and what the float reference makes of them."""

    reference: ModelOutputs


def frozen_tensors(items: Iterable[GoldenItem], frozen: FrozenStages, policy: PolicyContract) -> Tensors:
    """Every face of golden pictures, from its frozen S3: nothing before the model takes part."""
    samples = []
    for item in items:
        stored = frozen.picture(item.id)
        for index, face in enumerate(() if stored is None else stored.faces):
            samples.append(Sample(f"{item.id} face {index}", face.s3, normalise(face.s3, policy.pixel_pipeline)))
    assert samples, "the golden set has no frozen face"
    return Tensors(samples, np.stack([sample.s4 for sample in samples]))


def runtime_of(bundle: Bundle, policy: PolicyContract, mode: str) -> PatchRuntime:
    """A mode's file in the pinned configuration."""
    file, settings = place(bundle, mode, MODEL_FILE), policy.runtime
    return load_runtime(bundle, "tflite", settings.threads, xnnpack=wants_xnnpack(settings.delegate), file=file)


def side_of(bundle: Bundle, policy: PolicyContract, what: str) -> Side:
    """The `REFERENCE` or a mode's file, with its own calibration, in the pinned configuration."""
    settings = RuntimeSettings(policy.runtime.threads, wants_xnnpack(policy.runtime.delegate))
    return open_side(f"bundle:{bundle.path}:{what}", TensorNames(), settings)


def limits_of(bundle: Bundle, policy: PolicyContract, mode: str) -> ParityLimits | None:
    """What the contract holds a mode to: None where it neither ships nor may ship, and so is only measured."""
    if mode not in {policy.quantization.mode, *policy.quantization.releasable}:
        return None
    if mode == FLOAT:  # the same numbers, by another library
        return ParityLimits.exact(policy)
    return ParityLimits.quantised(policy, integers=computes_in_integers(side_of(bundle, policy, mode)))


def hold(evidence: Evidence, mode: str, metrics: Sequence[ParityMetric]) -> None:
    """Store metrics: those with a limit are held to it, and all must be numbers."""
    for one in metrics:
        name, worst = f"{mode}.{one.name}", one.worst or None
        if one.limit is not None:
            evidence.check(
                name, one.value, limit=one.limit, op=one.op, unit=one.unit, worst=worst, n=one.n, clause=one.clause
            )
        else:
            evidence.measure(name, one.value if one.value is not None else "not a number", one.unit)
    unknown = [one.name for one in metrics if one.value is None]
    evidence.none(f"{mode}.not_measured", unknown, n=len(metrics), unit="")
