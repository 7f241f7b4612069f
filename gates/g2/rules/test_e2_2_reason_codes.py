"""Reason codes of pictures and faces."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecdd.contract.loading import load_contract
from ecdd.detector import Detector
from ecdd.golden.golden_sets import GoldenSet, load_golden
from ecdd.pipeline.guardrails import (
    faces_that_count,
    faces_to_judge,
    picture_codes,
    resolution_codes,
)
from ecdd.pipeline.quality import FaceQuality, compression_is_heavy, face_codes, is_soft
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.specification import CONTRACT, GOLDEN
from gates.support.portraits import with_limits_of

pytestmark = pytest.mark.experiment("E2.2", rules=True)

GATES = load_contract(Path(__file__).parents[3] / "contracts" / "policy_contract.yaml").policy.quality_gates.model_copy(
    update={
        "min_image_side": 64,
        "min_face_side": 64,
        "blur_threshold": 40.0,
        "blur_warning": 80.0,
        "min_jpeg_quality": 30,
        "max_blockiness": 1.5,
        "max_faces": 3,
        "multi_face_policy": "max_p_fake",
        "low_quality_policy": "abstain",
        "min_tonal_levels": 22.0,
        "max_large_steps": 0.1,
        "max_roll": 30.0,
    }
)
GOOD = FaceQuality(face_side=200, blur=300, jpeg_quality=90, jpeg_quality_kind="exact", blockiness=1.05)
SMALL, BLURRY, HEAVY = (
    ReasonCode.FACE_TOO_SMALL,
    ReasonCode.TOO_BLURRY,
    ReasonCode.COMPRESSION_TOO_HEAVY,
)


def quality(**change: object) -> FaceQuality:
    return FaceQuality(**(GOOD.__dict__ | change))


@pytest.mark.parametrize(
    ("size", "faces", "candidates", "codes"),
    [
        ((63, 400), 1, 0, ["GR-006"]),
        ((400, 63), 0, 0, ["GR-006"]),
        ((64, 64), 1, 0, []),
        ((400, 400), 0, 0, ["GR-001"]),
        ((400, 400), 0, 2, ["GR-002"]),
        ((400, 400), 1, 2, []),
        ((400, 400), 3, 0, []),
        ((400, 400), 4, 0, ["GR-007"]),
    ],
)
def test_picture_codes(size: tuple[int, int], faces: int, candidates: int, codes: list[str]) -> None:
    assert list(resolution_codes(size, GATES) or picture_codes(faces, candidates, GATES)) == codes


def test_reject_multi_refuses_the_second_face() -> None:
    gates = GATES.model_copy(update={"multi_face_policy": "reject_multi"})
    assert picture_codes(1, 0, gates) == ()
    assert picture_codes(2, 0, gates) == (ReasonCode.TOO_MANY_FACES,)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({}, ()),
        ({"face_side": 64.0}, ()),
        ({"face_side": 63.99}, (SMALL,)),
        ({"face_side": 30.0, "blur": 1.0, "jpeg_quality": 5.0, "blockiness": 9.0}, (SMALL,)),
        ({"blur": 40.0}, ()),
        ({"blur": 39.9}, (BLURRY,)),
        ({"jpeg_quality": 30.0}, ()),
        ({"jpeg_quality": 29.0}, (HEAVY,)),
        ({"jpeg_quality": 29.0, "jpeg_quality_kind": "estimated"}, (HEAVY,)),
        ({"jpeg_quality": None, "jpeg_quality_kind": "unknown"}, ()),
        ({"jpeg_quality": None, "jpeg_quality_kind": "unknown", "blockiness": 1.6}, (HEAVY,)),
        ({"blockiness": 1.5}, ()),
        ({"blur": 1.0, "blockiness": 9.0}, (BLURRY, HEAVY)),
        ({"roll": 30.0, "tonal_levels": 22.0, "large_steps": 0.1}, ()),
        ({"roll": 30.1}, (ReasonCode.FACE_TURNED,)),
        ({"tonal_levels": 21.9}, (ReasonCode.FEW_TONAL_VALUES,)),
        ({"large_steps": 0.101}, (ReasonCode.FEW_TONAL_VALUES,)),
        ({"tonal_levels": 3.0, "blur": 1.0, "roll": 90.0}, (ReasonCode.FEW_TONAL_VALUES,)),
        ({"tonal_levels": None, "large_steps": None}, ()),
    ],
)
def test_face_codes(change: dict[str, object], codes: tuple[ReasonCode, ...]) -> None:
    assert face_codes(quality(**change), GATES) == codes


def test_under_a_stricter_threshold_compression_does_not_stop_a_face_but_is_still_known() -> None:
    gates = GATES.model_copy(update={"low_quality_policy": "stricter_threshold"})
    heavy = quality(jpeg_quality=10.0, blur=1.0)
    assert face_codes(heavy, gates) == (BLURRY,)
    assert compression_is_heavy(heavy, gates)
    assert not compression_is_heavy(GOOD, gates)


def test_soft_lies_between_threshold_and_warning() -> None:
    assert [is_soft(quality(blur=blur), GATES) for blur in (39.0, 40.0, 79.0, 80.0)] == [
        False,
        True,
        True,
        False,
    ]


@settings(deadline=None)
@given(
    side=st.floats(0, 5000),
    blur=st.floats(0, 1e6),
    jpeg=st.none() | st.floats(1, 100),
    blocks=st.floats(0.5, 50),
)
def test_a_too_small_face_names_only_its_size(side: float, blur: float, jpeg: float | None, blocks: float) -> None:
    codes = face_codes(quality(face_side=side, blur=blur, jpeg_quality=jpeg, blockiness=blocks), GATES)
    assert (SMALL in codes) == (side < GATES.min_face_side)
    assert SMALL not in codes or codes == (SMALL,)
    assert list(codes) == sorted(set(codes))


def test_every_good_face_is_judged_unless_only_the_largest_counts() -> None:
    sides, codes = [50.0, 200.0, 200.0], [(SMALL,), (), ()]
    assert faces_to_judge(faces_that_count(sides, GATES), codes) == (1, 2)
    largest = faces_that_count(sides, GATES.model_copy(update={"multi_face_policy": "largest_face"}))
    assert faces_to_judge(largest, codes) == (1,)
    assert faces_to_judge(largest, [(), (BLURRY,), ()]) == ()
    assert faces_that_count([], GATES.model_copy(update={"multi_face_policy": "largest_face"})) == ()


def test_codes_of_the_golden_set_are_asked_under_its_own_limits(tmp_path: Path) -> None:
    """A team's limit for its own model turns no golden code red; its own set's codes are under its own limits."""
    golden, shipped = load_golden(GOLDEN), Detector.load("tiny")
    own = load_contract(CONTRACT).policy.quality_gates
    other = Detector(
        shipped.bundle,
        shipped.contract.with_values({"quality_gates.blur_threshold": 60.0, "quality_gates.max_roll": 20.0}),
    )
    judged = with_limits_of(golden, other).policy.quality_gates
    assert (judged.blur_threshold, judged.max_roll) == (own.blur_threshold, 20.0)
    same = Detector(shipped.bundle, shipped.contract.with_values({"quality_gates.blur_threshold": own.blur_threshold}))
    assert with_limits_of(golden, same) is same
    assert with_limits_of(GoldenSet(tmp_path, golden.manifest), other) is other
