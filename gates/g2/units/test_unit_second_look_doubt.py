"""What BlazeFace is hardly sure of is shown to the face mesh: no face upside down is read as an upright one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.pipeline.face import Face, is_certain
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.second_look import SecondLook
from ecdd.specification import CONTRACT, GOLDEN

LOADED = load_contract(CONTRACT)
POLICY = LOADED.policy.face_detector
TRUSTING = LOADED.with_values({"face_detector.second_look_doubt": 0.0}).policy.face_detector
PORTRAIT = GOLDEN / "in_scope" / "fake_self_blended_hopper.jpg"


@pytest.fixture(scope="module")
def upside_down() -> Image.Image:
    return Image.open(PORTRAIT).convert("RGB").transpose(Image.Transpose.ROTATE_180)


def looks(image: Image.Image, finder: object) -> set[str]:
    return {face.look for face in finder.detect(image) if is_certain(face, POLICY)}  # type: ignore[attr-defined]


def test_a_face_upside_down_is_not_an_upright_one(upside_down: Image.Image) -> None:
    assert looks(upside_down, load_detector(TRUSTING)) == {"first"}
    assert looks(upside_down, load_detector(POLICY)) == {"turned"}


def test_it_only_asks_about_faces_between_threshold_and_doubt(
    upside_down: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = load_detector(POLICY)
    assert isinstance(finder, SecondLook)
    (found, *_) = load_detector(TRUSTING).detect(upside_down)
    at = {score: dataclasses.replace(found, score=score) for score in (POLICY.second_look_doubt, 0.699, 0.64, 0.639)}
    refuted = {score: finder._is_refuted(face, upside_down) for score, face in at.items()}
    assert refuted == {0.7: False, 0.699: True, 0.64: True, 0.639: False}
    monkeypatch.setattr(SecondLook, "_mesh_of", None)  # asked of no other face
    assert not finder._is_refuted(at[0.7], upside_down)
    assert not finder._is_refuted(at[0.639], upside_down)


def test_a_doubtful_face_that_the_mesh_sees_counts_as_before() -> None:
    image = Image.open(PORTRAIT).convert("RGB")
    finder = load_detector(POLICY)
    (face,) = [one for one in load_detector(TRUSTING).detect(image) if is_certain(one, POLICY)]
    doubtful = dataclasses.replace(face, score=0.65)
    assert isinstance(finder, SecondLook)
    assert not finder._is_refuted(doubtful, image)


def test_a_presence_that_just_suffices_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.open(PORTRAIT).convert("RGB")
    finder = load_detector(POLICY)
    assert isinstance(finder, SecondLook)
    (face,) = [one for one in load_detector(TRUSTING).detect(image) if is_certain(one, POLICY)]
    mesh = finder._mesh_of(face, image)
    for limit, confirmed in ((mesh.presence, True), (math.nextafter(mesh.presence, 2), False)):
        changed = {"second_look_presence": limit, "second_look_parts_logit": math.inf}
        monkeypatch.setattr(finder, "_policy", POLICY.model_copy(update=changed))
        assert finder._is_confirmed(dataclasses.replace(face, score=1.0), image, "part") == confirmed


def test_older_contracts_trust_the_threshold() -> None:
    released = Path(__file__).parents[3] / "gates" / "units" / "release" / "fixtures" / "released"
    assert load_contract(released / "policy_contract.yaml").policy.face_detector.second_look_doubt == 0


def test_an_empty_picture_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SecondLook, "_mesh_of", None)
    found: list[Face] = load_detector(POLICY).detect(Image.new("RGB", (300, 200), (90, 120, 90)))
    assert found == []
