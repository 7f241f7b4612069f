"""E1.9 normalisation: S4 equals the golden S4; the normalisation constants equal the contract's and the ones stored
with the trained weights.

A model trained with one mean and fed with another is only slightly wrong, so nobody notices. Fails when a tensor
differs from the frozen one beyond the tolerance, or when contract, code and weights name different constants.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.manifest import WEIGHTS_FILE
from ecdd.pipeline.preprocess import normalise
from gates.support.fixtures import Bundle, Evidence, FrozenStages, GoldenSet, NotTested, PolicyContract, Prepared


def exact_s4(s3: NDArray[np.uint8], mean: list[float], std: list[float]) -> NDArray[np.float64]:
    """Normalisation in float64, written out independently of the pipeline."""
    return (s3.astype(np.float64) / 255.0 - np.asarray(mean)) / np.asarray(std)


def stored_constants(data: bytes) -> dict[str, Any]:
    """Identity in the weights file's metadata; safetensors begins with 8 bytes of length and a JSON header."""
    (length,) = struct.unpack_from("<Q", data)
    metadata: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    identity: dict[str, Any] = json.loads(metadata.get("ecdd", "{}"))
    return identity


@pytest.mark.experiment("E1.9")
def test_s4_equals_golden(
    evidence: Evidence, frozen: FrozenStages, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    """S4 is recomputed from the golden S3, so that another decoder cannot colour this experiment."""
    pixels, worst, digests, n = policy.pixel_pipeline, ("", 0.0), [], 0
    for item in golden.items:
        stored = frozen.picture(item.id)
        for index, face in enumerate(stored.faces if stored is not None else ()):
            s4 = normalise(face.s3, policy.pixel_pipeline)
            expected = exact_s4(face.s3, pixels.normalisation_mean, pixels.normalisation_std)
            difference = float(np.abs(s4 - expected).max())
            worst, n = max(worst, (f"{item.id} face {index}", difference), key=lambda pair: pair[1]), n + 1
            digest = hashlib.sha256(s4.astype("<f4").tobytes()).hexdigest()
            if not face.s4_digest.endswith(digest):
                digests.append(f"{item.id} face {index}")
    limit = policy.pixel_pipeline.tolerance_s4
    evidence.check(
        "s4_max_difference", worst[1], limit=limit, clause="pixel_pipeline.tolerance_s4", worst=[worst[0]], n=n
    )
    evidence.none("s4_digests_differing", digests, n=n, unit="face")


@pytest.mark.experiment("E1.9")
def test_contracts_that_differ_in_one_constant_differ_in_s4(evidence: Evidence, policy: PolicyContract) -> None:
    """One process, one constant changed, in both orders: what the first contract computed must not serve the second."""
    pixels, levels = policy.pixel_pipeline, np.arange(2**8, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    other = {
        "normalisation_std": [value * 1.5 for value in pixels.normalisation_std],
        "normalisation_mean": [value + 0.05 for value in pixels.normalisation_mean],
        "pixel_scale": pixels.pixel_scale / 2,
    }
    wrong = []
    for name, value in other.items():
        changed = pixels.model_copy(update={name: value})
        for order in ((pixels, changed), (changed, pixels)):
            for one in order:
                exact = (levels * np.float64(one.pixel_scale) - one.normalisation_mean) / one.normalisation_std
                if float(np.abs(normalise(levels, one) - exact).max()) > pixels.tolerance_s4:
                    wrong.append(f"{name} {getattr(one, name)}")
    evidence.none("s4_of_another_contract", wrong, n=4 * len(other), unit="tensor")


@pytest.mark.experiment("E1.9")
def test_the_detector_uses_this_s4(
    evidence: Evidence, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    faces = [(item.id, face) for item in golden.items for face in prepared(item).faces]
    worst = ("", 0.0)
    for key, face in faces:
        expected = exact_s4(face.s3, policy.pixel_pipeline.normalisation_mean, policy.pixel_pipeline.normalisation_std)
        difference = float(np.abs(face.s4(policy.pixel_pipeline) - expected).max())
        worst = max(worst, (key, difference), key=lambda pair: pair[1])
    limit = policy.pixel_pipeline.tolerance_s4
    evidence.check(
        "s4_max_difference", worst[1], limit=limit, clause="pixel_pipeline.tolerance_s4", worst=[worst[0]], n=len(faces)
    )


@pytest.mark.experiment("E1.9")
def test_constants_are_those_of_the_weights(evidence: Evidence, bundle: Bundle, policy: PolicyContract) -> None:
    if WEIGHTS_FILE not in bundle.manifest.files:
        why = f"the bundle has no {WEIGHTS_FILE}; bundle.json, which states them, was held to the contract when loaded"
        raise NotTested("constants stored with the weights", why)
    stored = stored_constants(bundle.read(WEIGHTS_FILE))
    pixels = policy.pixel_pipeline
    wanted = {
        "normalisation_mean": list(pixels.normalisation_mean),
        "normalisation_std": list(pixels.normalisation_std),
        "pixel_scale": pixels.pixel_scale,
    }
    wrong = [key for key, value in wanted.items() if stored.get(key) != value]
    evidence.none("constants_differing", wrong, n=len(wanted), unit="constant")
