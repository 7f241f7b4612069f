"""E2.1 face detector pin: the face detector's weights hash and version match the contract's, and S2 equals the golden
S2 within tolerance.

Another detector crops other pixels, and every threshold was set on the crops of this one. Fails when identity or
settings differ from the contract's, or when a box, a landmark, a score or a crop moves beyond the tolerance.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import ecdd.pipeline
from ecdd.pipeline.face import DetectorError
from ecdd.pipeline.face_detectors import load_detector
from gates.support.fixtures import Detector, Evidence, FrozenStages, GoldenSet, PolicyContract, Prepared

WEIGHTS = Path(ecdd.pipeline.__file__).parent / "weights" / "face_detection_full_range.tflite"


@pytest.mark.experiment("E2.1")
def test_weights_and_settings_are_pinned(evidence: Evidence, policy: PolicyContract, detector: Detector) -> None:
    pinned = policy.face_detector
    identity = detector.face_backend.identity()
    found = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    wrong = [] if found == pinned.weights_sha256 else [f"file {found[:12]}, contract {pinned.weights_sha256[:12]}"]
    fields = ("name", "version", "weights_sha256", "score_threshold", "detection_size")
    pairs = [(name, getattr(identity, name), getattr(pinned, name)) for name in fields]
    wrong += [f"{name}: {got}, contract {wanted}" for name, got, wanted in pairs if got != wanted]
    evidence.none("identity_differs", wrong, n=6, unit="field")


@pytest.mark.experiment("E2.1")
def test_other_weights_are_refused(evidence: Evidence, policy: PolicyContract) -> None:
    other = policy.face_detector.model_copy(update={"weights_sha256": "0" * 64})
    try:
        load_detector(other)
        accepted = ["another SHA-256 was accepted"]
    except DetectorError:
        accepted = []
    evidence.none("other_weights_accepted", accepted, n=1, unit="file")


@pytest.mark.experiment("E2.1")
def test_s2_equals_golden(
    evidence: Evidence, frozen: FrozenStages, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    same = frozen.same_fingerprint
    box_limit = 0.0 if same else policy.face_detector.tolerance_box
    score_limit = 0.0 if same else policy.face_detector.tolerance_score
    counts, crops, n = [], [], 0
    worst_box, worst_score = ("", 0.0), ("", 0.0)
    for item in golden.items:
        stored, faces = frozen.picture(item.id), prepared(item).faces
        if stored is None or len(stored.faces) != len(faces):
            counts.append(item.id)
            continue
        for index, (old, new) in enumerate(zip(stored.faces, faces, strict=True)):
            n += 1
            name = f"{item.id} face {index}"
            both = np.abs(
                np.asarray((*old.box, *np.ravel(old.landmarks))) - (*new.face.box, *np.ravel(new.face.landmarks))
            )
            worst_box = max(worst_box, (name, float(both.max())), key=lambda pair: pair[1])
            worst_score = max(worst_score, (name, abs(old.score - new.face.score)), key=lambda pair: pair[1])
            if same and tuple(old.crop_box) != tuple(new.crop_box):
                crops.append(name)
    evidence.none("pictures_with_other_faces", counts, n=len(golden.items))
    evidence.check("box_difference", worst_box[1], limit=box_limit, unit="px", worst=[worst_box[0]], n=n)
    evidence.check("score_difference", worst_score[1], limit=score_limit, worst=[worst_score[0]], n=n)
    evidence.none("crop_boxes_differing", crops, n=n, unit="face")
