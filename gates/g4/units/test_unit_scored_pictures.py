"""What is kept of calibration pictures while they are scored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecdd.bundle import bundle_path, load_bundle
from ecdd.calibration.calibration_set_contract import score_pictures
from ecdd.dataset_governance.lineage_tags import LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.specification import GOLDEN


def _row(path: Path) -> TaggedRow:
    key = hashlib.sha256(path.read_bytes()).hexdigest()
    tag = SplitRow(key, LineageTag.CALIBRATION, key, "unknown", "0", "face", "s")
    return ManifestRow(path, path.name, 0, "face", "s", None, key), tag


def test_faces_are_seen_of_the_pictures_that_can_be_judged_and_of_no_other(tmp_path: Path) -> None:
    """A mode is quantised on just these."""
    (tmp_path / "text.jpg").write_text("no picture")
    rows = [_row(next((GOLDEN / "in_scope").glob("real_collins.*"))), _row(tmp_path / "text.jpg")]
    bundle, seen = load_bundle(bundle_path("tiny")), dict[str, NDArray[np.float32]]()
    policy = bundle.contract.policy
    scored = list(score_pictures(rows, policy, [bundle.read("model.tflite")], seen.__setitem__))
    assert [(one.outcome == "judged", one.logit is None) for (one,) in scored] == [(True, False), (False, True)]
    side = policy.pixel_pipeline.input_size
    assert {key: faces.shape[1:] for key, faces in seen.items()} == {rows[0][0].sha256: (side, side, 3)}
