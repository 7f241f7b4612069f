"""Policies of the contract, seen in the verdict: which faces count, and what cannot be decided is refused."""

from __future__ import annotations

import pytest
from PIL import ImageFilter

from ecdd.contract.contract_error import ContractError
from ecdd.detector import Detector
from ecdd.verdict import Verdict
from gates.support.drawn_faces import scene
from gates.support.drawn_pictures import FAKE, REAL, contract, jpeg

PICTURE = scene((760, 420), [(60, 60, 300), (460, 80, 220)], seed=6, noise=6)
LARGE_AND_SMALL = jpeg(PICTURE)
BETWEEN = 168  # px: the large face passes this gate, the small one does not


def large_one_blurred() -> bytes:
    """The same picture with its left half, the large face, out of focus."""
    picture = PICTURE.copy()
    left = (0, 0, 420, picture.height)
    picture.paste(picture.crop(left).filter(ImageFilter.GaussianBlur(6)), left)
    return jpeg(picture)


def predict(policy: str, values: dict[str, float], content: bytes = LARGE_AND_SMALL) -> Verdict:
    chosen = contract({**values, "quality_gates.multi_face_policy": policy})  # type: ignore[dict-item]
    return Detector.load("tiny", chosen).predict(content)


def test_the_picture_has_a_large_and_a_small_face() -> None:
    sides = [face.face_side for face in predict("max_p_fake", REAL).faces]
    assert len(sides) == 2
    assert min(sides) < BETWEEN < max(sides)


def test_under_max_p_fake_a_small_face_makes_the_picture_abstain() -> None:
    verdict = predict("max_p_fake", {**REAL, "quality_gates.min_face_side": BETWEEN})
    assert (verdict.label, verdict.reason_codes) == ("abstain", ("GR-003",))
    assert predict("max_p_fake", {**FAKE, "quality_gates.min_face_side": BETWEEN}).label == "fake"


def test_under_largest_face_a_small_face_says_nothing() -> None:
    verdict = predict("largest_face", {**REAL, "quality_gates.min_face_side": BETWEEN})
    assert (verdict.label, verdict.reason_codes) == ("real", ())
    assert [face.probability is None for face in verdict.faces].count(False) == 1


def test_under_largest_face_no_other_takes_its_place() -> None:
    content, gate = large_one_blurred(), {"quality_gates.blur_threshold": 25.0}
    verdict = predict("largest_face", {**FAKE, **gate}, content)
    assert (verdict.label, verdict.reason_codes, verdict.deciding_face) == ("abstain", ("GR-004",), None)
    assert all(face.probability is None for face in verdict.faces)
    assert predict("max_p_fake", {**FAKE, **gate}, content).label == "fake", "the small face passes the gate"


def test_reject_multi_judges_nobody() -> None:
    chosen = contract({**FAKE, "quality_gates.multi_face_policy": "reject_multi"})  # type: ignore[dict-item]
    detector = Detector.load("tiny", chosen)
    verdict = detector.predict(LARGE_AND_SMALL)
    assert (verdict.label, verdict.reason_codes, verdict.probability) == ("abstain", ("GR-007",), None)
    assert detector.model_calls == 0


def test_a_threshold_that_the_contract_does_not_hold_is_refused() -> None:
    chosen = contract({"quality_gates.low_quality_policy": "stricter_threshold"})  # type: ignore[dict-item]
    with pytest.raises(ContractError, match=r'quality_gates\.low_quality_policy.*allowed here: "abstain"'):
        Detector.load("tiny", chosen)
