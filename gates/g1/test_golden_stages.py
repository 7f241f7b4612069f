"""S0 to S4 of every golden picture equal the frozen ones; ``pytest --snapshot-update`` freezes them again.

Exact where the decoder is the frozen one. Where it differs, S1 and the crop may differ, boxes and S3 stay within the
contract's tolerances, and S4 is compared through S3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.evidence.pytest_plugin import CHANGED
from ecdd.evidence.stage_snapshots import binary_file, loads, numbers_close, text_file
from ecdd.golden.golden_hashes import STAGES_FOLDER, changed_stages, read_s3, s3_png, stages_text
from ecdd.pipeline.decode import decoder_fingerprint, read_file
from ecdd.pipeline.reason_codes import Rejected
from ecdd.pipeline.stages import prepare

DECODER_BOUND = ("decoder", "S1", "crop", "S4")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "item" in metafunc.fixturenames:
        from ecdd.golden.golden_sets import load_golden

        from ecdd.evidence.pytest_plugin import RUN

        items = load_golden(metafunc.config.stash[RUN].options.golden).items
        metafunc.parametrize("item", items, ids=[item.id for item in items])


def _same_stages(policy: Any) -> Any:
    tolerances = {
        "box": policy.face_detector.tolerance_box,
        "landmarks": policy.face_detector.tolerance_box,
        "score": policy.face_detector.tolerance_score,
        "crop_box": 2 * policy.face_detector.tolerance_box,
    }

    def same(new: str, old: str) -> bool:
        if new == old:
            return True
        one, two = loads(new), loads(old)
        if two["decoder"] == decoder_fingerprint():
            return False
        for content in (one, two):
            for key in DECODER_BOUND:
                content.pop(key, None)
            for face in content["faces"]:
                face.pop("S4", None)
                face["S2"].pop("crop", None)
        return numbers_close(one, two, tolerances)

    return same


def _same_s3(limit: int) -> Any:
    def same(new: bytes, old: bytes) -> bool:
        one, two = read_s3(new), read_s3(old)
        return one.shape == two.shape and int(np.abs(one.astype(np.int32) - two).max()) <= limit

    return same


def test_stages_equal_frozen(
    item: Any, snapshot: Any, contract: Any, detector: Any, frozen: Any, golden: Any, request: pytest.FixtureRequest
) -> None:
    policy = contract.policy
    data = read_file(Path(item.path), policy.pixel_pipeline)
    try:
        prepared: Any = prepare(data, policy, detector.face_backend, name=Path(item.path).name)
    except Rejected as rejected:
        prepared = tuple(rejected.codes)
    folder = Path(golden.root) / STAGES_FOLDER
    text = stages_text(item.sha256, prepared, policy, contract.preprocessing_digest)
    stored = folder / f"{item.id}.json"
    if request.config.option.update_snapshots:
        changed = changed_stages(stored.read_text(encoding="utf-8"), text) if stored.is_file() else ["new"]
        if changed:
            request.config.stash[CHANGED].append(f"{item.id}: {', '.join(changed)}")
    assert text == snapshot(name=item.id, extension_class=text_file(folder, _same_stages(policy)))
    limit = 0 if frozen.same_fingerprint else policy.pixel_pipeline.tolerance_s3
    for index, face in enumerate(() if isinstance(prepared, tuple) else prepared.faces):
        png = binary_file(folder, "png", _same_s3(limit))
        assert s3_png(face.s3) == snapshot(name=f"{item.id}.face{index}", extension_class=png)


def test_no_stage_is_missing_or_unused(golden: Any, frozen: Any, request: pytest.FixtureRequest) -> None:
    if request.config.option.update_snapshots:
        return  # the files are being written by the other test of this module
    wanted = {f"{item.id}.json" for item in golden.items}
    wanted |= {f"{key}.face{i}.png" for key, picture in frozen.pictures.items() for i in range(len(picture.faces))}
    found = {path.name for path in (Path(golden.root) / STAGES_FOLDER).iterdir()}
    assert found == wanted, f"unused: {sorted(found - wanted)}; missing: {sorted(wanted - found)}"
