"""E2.6 minimum face size: error and calibration are swept against face size; the contract's minimum lies where
predictions stop being reliable.

A small face that is enlarged shows the resize kernel instead of the generator. Fails when faces above the minimum
change their verdict, rank or mean score beyond the contract's limits, or when faces below it are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ecdd.detector import Detector
from gates.support.fixtures import Evidence, GoldenSet
from gates.support.portraits import Portrait, png, relaxed, sweep_portraits
from gates.support.sweeps import Sample, check_inside_gate, level_rows, run_sweep

SIDES = (32.0, 48.0, 64.0, 80.0, 96.0, 128.0, 192.0)


class _ToFaceSide:
    """Reduce a picture until its face has a given side; the face is looked for once a picture, not once a side."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.image: Image.Image | None = None
        self.face_side = 0.0

    def __call__(self, image: Image.Image, side: float) -> bytes:
        if image is not self.image:
            self.image, self.face_side = image, self.detector.predict(png(image)).faces[0].face_side
        scale = min(side / self.face_side, 1.0)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return png(image.resize(size, Image.Resampling.LANCZOS))


def sweep(portraits: Sequence[Portrait], detector: Detector) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Faces reduced to each side; only those that were larger before."""
    samples = run_sweep(portraits, SIDES, _ToFaceSide(detector), detector)
    near = [s for s in samples if abs(s.measures["face_side"] / s.level - 1) < 0.15]
    return near, level_rows(near, SIDES, detector.policy)


@pytest.mark.experiment("E2.6")
def test_size_sweep(evidence: Evidence, golden: GoldenSet, detector: Detector, data_root: Path | None) -> None:
    limit = detector.policy.quality_gates.min_face_side
    for origin, portraits in sweep_portraits(golden, data_root).items():
        samples, rows = sweep(portraits, relaxed(detector))
        evidence.table(f"face_size_{origin}", rows)
        check_inside_gate(
            evidence,
            samples,
            lambda s, factor: s.measures["face_side"] >= factor * limit,
            detector.policy,
            is_data=origin == "data",
        )


@pytest.mark.experiment("E2.6")
def test_small_faces_abstain(evidence: Evidence, golden: GoldenSet, detector: Detector) -> None:
    items = [item for item in golden.by_set("edge_cases") if "face_size" in item.id or "px" in item.id]
    limit = detector.policy.quality_gates.min_face_side
    wrong = []
    for item in items:
        verdict = detector.predict(Path(item.path))
        small = [face for face in verdict.faces if face.face_side < limit]
        coded = all(face.reason_codes == ("GR-003",) and face.probability is None for face in small)
        if not coded or (small and verdict.label == "real"):
            wrong.append(item.id)
    evidence.none("small_faces_judged", wrong, n=len(items))


@pytest.mark.experiment("E2.6")
def test_the_gate_closes_exactly_at_its_limit(evidence: Evidence, golden: GoldenSet, detector: Detector) -> None:
    """With the limit one pixel above and one below a face's side, the same face abstains and is judged."""
    item = next(item for item in golden.by_set("in_scope") if item.expected.outcome == "reaches_model")
    side = detector.predict(Path(item.path)).faces[0].face_side
    codes = []
    for limit in (int(side), int(side) + 1):
        changed = Detector(detector.bundle, detector.contract.with_values({"quality_gates.min_face_side": limit}))
        codes.append(changed.predict(Path(item.path)).faces[0].reason_codes)
    evidence.none("codes_below_limit", codes[0], n=1, unit="code")
    evidence.check("GR-003_above_limit", int(codes[1] == ("GR-003",)), limit=1, op="==", n=1)
