"""S0 to S4 of every golden picture equal the frozen ones; ``pytest --snapshot-update`` freezes them again.

Exact where decoder and platform are those that froze them. Where one differs, S1 and the crop may differ, boxes stay
within the contract's tolerances, and S3 is cut again at the frozen box and compared within its tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.contract.schema import PolicyContract
from ecdd.evidence.pytest_plugin import CHANGED, RUN
from ecdd.evidence.stage_snapshots import binary_file, loads, numbers_close, same, text_file
from ecdd.golden.golden_hashes import (
    STAGES_FOLDER,
    changed_stages,
    first_moved,
    platform_fingerprint,
    read_s3,
    s3_png,
    stages_text,
)
from ecdd.golden.golden_sets import load_checked
from ecdd.pipeline.decode import decoder_fingerprint, read_file
from ecdd.pipeline.preprocess import CropBox, cut, resize
from ecdd.pipeline.reason_codes import Rejected
from ecdd.pipeline.stages import prepare


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "item" in metafunc.fixturenames:
        items = load_checked(metafunc.config.stash[RUN].options.golden).items
        metafunc.parametrize("item", items, ids=[item.id for item in items])


def same_stages(policy: PolicyContract) -> Callable[[str, str], bool]:
    """Comparison of two texts of one picture: exact, or within the contract where the fingerprint differs."""
    tolerances = {
        "box": policy.face_detector.tolerance_box,
        "landmarks": policy.face_detector.tolerance_box,
        "score": policy.face_detector.tolerance_score,
        "crop_box": 2 * policy.face_detector.tolerance_box,
    }

    def compare(new: str, old: str) -> bool:
        one, two = loads(new), loads(old)
        same_decoder = two.pop("decoder") == one.pop("decoder")
        same_platform = two.pop("platform") == one.pop("platform")
        if same_decoder and same_platform:
            return one == two
        for content in (one, two):
            if not same_decoder:
                content.pop("S1")
            for face in content["faces"]:  # of pixels that may differ: S3 is compared as a picture
                face.pop("S4")
                face["S2"].pop("crop")
        return numbers_close(one, two, tolerances)

    return compare


def same_s3(limit: int) -> Callable[[bytes, bytes], bool]:
    """Comparison of two S3: largest difference in levels."""

    def compare(new: bytes, old: bytes) -> bool:
        one, two = read_s3(new), read_s3(old)
        return one.shape == two.shape and int(np.abs(one.astype(np.int32) - two).max()) <= limit

    return compare


def s3_to_compare(prepared: Any, index: int, stored: Any, policy: PolicyContract) -> Any:
    """Today's S3, cut at the frozen box where today's differs by what the platform explains."""
    face = prepared.faces[index]
    if stored is None or index >= len(stored["faces"]):
        return face.s3
    box = CropBox(*stored["faces"][index]["S2"]["crop_box"])
    if box == face.crop_box or policy.face_detector.crop_alignment != "axis_aligned":
        return face.s3
    return resize(cut(prepared.decoded.image, box, policy.face_detector), policy.pixel_pipeline)


def _changed(old: str | None, text: str, s3: list[Any], folder: Path, name: str) -> list[str]:
    """Stages of a picture in which the stored files differ from today's."""
    if old is None:
        return ["new"]
    paths = [folder / f"{name}.face{index}.png" for index in range(len(s3))]
    same_pixels = [
        p.is_file() and np.array_equal(read_s3(p.read_bytes()), new) for p, new in zip(paths, s3, strict=True)
    ]
    return sorted({*changed_stages(old, text), *([] if all(same_pixels) else ["S3"])})


def test_stages_equal_frozen(
    item: Any, snapshot: Any, contract: Any, detector: Any, golden: Any, freezing: bool, request: pytest.FixtureRequest
) -> None:
    policy = contract.policy
    data = read_file(Path(item.path), policy.pixel_pipeline)
    try:
        prepared: Any = prepare(data, policy, detector.face_backend, name=Path(item.path).name)
    except Rejected as rejected:
        prepared = tuple(rejected.codes)
    folder = Path(golden.root) / STAGES_FOLDER
    text = stages_text(item.sha256, prepared, policy, contract.preprocessing_digest)
    path = folder / f"{item.id}.json"
    old = path.read_text(encoding="utf-8") if path.is_file() else None
    stored = None if old is None or freezing else loads(old)
    faces = () if isinstance(prepared, tuple) else prepared.faces
    changed = _changed(old, text, [face.s3 for face in faces], folder, item.id)
    if freezing and changed:
        request.config.stash[CHANGED].append(f"{item.id}: {', '.join(changed)}")
    moved = f"{item.id}: the first stage that moved is {first_moved(changed)}"
    compare = same if freezing else same_stages(policy)
    assert text == snapshot(name=item.id, extension_class=text_file(folder, compare)), moved
    exact = stored is None or (
        stored["decoder"] == decoder_fingerprint() and stored["platform"] == platform_fingerprint()
    )
    png = binary_file(folder, "png", same_s3(0 if exact else policy.pixel_pipeline.tolerance_s3))
    for index in range(len(faces)):
        s3 = faces[index].s3 if exact else s3_to_compare(prepared, index, stored, policy)
        assert s3_png(s3) == snapshot(name=f"{item.id}.face{index}", extension_class=png), moved


def test_no_stage_is_missing_or_unused(golden: Any, freezing: bool, request: pytest.FixtureRequest) -> None:
    folder = Path(golden.root) / STAGES_FOLDER
    wanted = {f"{item.id}.json" for item in golden.items}
    for item in golden.items:
        path = folder / f"{item.id}.json"
        faces = len(loads(path.read_text(encoding="utf-8"))["faces"]) if path.is_file() else 0
        wanted |= {f"{item.id}.face{index}.png" for index in range(faces)}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if freezing:
        for name in sorted(found - wanted):
            (folder / name).unlink()
            request.config.stash[CHANGED].append(f"{name}: removed, no golden picture has it")
        found &= wanted
    assert found == wanted, f"unused: {sorted(found - wanted)}; missing: {sorted(wanted - found)}"
