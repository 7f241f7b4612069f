"""The second look and the gates on tones and roll, with the values that schema version 3 is proposed with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.golden.golden_sets import load_checked
from ecdd.pipeline import quality, second_look
from ecdd.pipeline.blazeface import Letterbox, letterbox
from ecdd.pipeline.compression import JpegQuality
from ecdd.pipeline.face import DetectorError, Face, FaceBackend, roll_degrees
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.pipeline.tonal_range import effective_levels, large_steps
from gates.g2.test_e2_10_tonal_range_and_pose import TURNS, coded, without
from gates.mutants import guardrail_mutants
from gates.support.framings import certain_faces, framed_portraits, look_rows, recall_by
from gates.support.portraits import golden_portraits, open_portrait
from gates.support.tonal_pictures import FEW_TONES, Photograph

ROOT = Path(__file__).parents[3]
CONTRACT = load_contract(ROOT / "contracts" / "policy_contract.yaml")
POLICY = CONTRACT.policy
FIRST = CONTRACT.with_values({"face_detector.second_look": "off"}).policy.face_detector  # one look
GOLDEN = load_checked(ROOT / "golden")
PORTRAITS = golden_portraits(GOLDEN)[::3]
GATES = POLICY.quality_gates


@pytest.fixture(scope="module")
def finder() -> FaceBackend:
    return load_detector(POLICY.face_detector)


@pytest.fixture(scope="module")
def images() -> dict[str, Image.Image]:
    found = {}
    for portrait in PORTRAITS[:6]:
        found[portrait.name] = open_portrait(portrait, POLICY)
        found[portrait.name].thumbnail((640, 640), Image.Resampling.BILINEAR)
    return found


def recall(policy_finder: FaceBackend) -> dict[str, float]:
    first = load_detector(FIRST)
    rows = look_rows(framed_portraits(PORTRAITS, first, POLICY), policy_finder, POLICY)
    assert max(row["moved"] for row in rows if row["found"]) <= POLICY.face_detector.tolerance_framing
    return {framing: share for framing, (share, _) in recall_by(rows, "framing").items()}


def test_every_framing_is_found_where_the_crop_lies(finder: FaceBackend) -> None:
    assert min(recall(finder).values()) >= GATES.min_recall


def test_a_face_that_depends_on_the_framing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look.SecondLook, "detect", second_look.SecondLook.detect)  # put back after the test
    guardrail_mutants.framing_dependent_face()
    assert min(recall(load_detector(POLICY.face_detector)).values()) < GATES.min_recall


def test_a_picture_with_a_face_gives_what_it_gave(finder: FaceBackend) -> None:
    first = load_detector(FIRST)
    for portrait in PORTRAITS[:4]:
        image = open_portrait(portrait, POLICY)
        assert finder.detect(image) == first.detect(image)


def test_nothing_out_of_scope_gets_a_face(finder: FaceBackend) -> None:
    found = {p.name: certain_faces(open_portrait(p, POLICY), finder, POLICY)
             for p in golden_portraits(GOLDEN, "out_of_scope")}  # fmt: skip
    assert [name for name, faces in found.items() if faces] == []


def test_another_mesh_file_is_refused() -> None:
    section = POLICY.face_detector.model_copy(update={"second_look_sha256": "0" * 64})
    with pytest.raises(DetectorError, match=r"second_look_sha256 is 0{64}, but face_mesh\.tflite has c6db"):
        load_detector(section)


def test_a_second_look_needs_blazeface() -> None:
    values = POLICY.face_detector.model_dump() | {"name": "dlib_hog"}
    with pytest.raises(ValueError, match="second_look border_and_turns needs name blazeface_full_range"):
        type(POLICY.face_detector).model_validate(values)


def test_a_border_is_a_letterbox_with_air() -> None:
    image = Image.new("RGB", (400, 300), (255, 255, 255))
    square, geometry = letterbox(image, 192, "bilinear", 0.5)
    assert geometry == Letterbox((400, 300), (96, 72), (48, 60))
    assert (square > 0).any(axis=2).sum() == 96 * 72
    corners = np.array([[0.0, 0.0], [400.0, 300.0]])
    assert np.allclose(geometry.to_picture(geometry.to_square(corners)), corners)


@pytest.mark.parametrize("turn", TURNS.values())
def test_turned_faces_lie_where_they_are(finder: FaceBackend, images: dict[str, Image.Image], turn: int) -> None:
    """The box of a turned picture, turned back, is the upright one."""
    image = next(iter(images.values()))
    (upright,) = certain_faces(image, finder, POLICY)
    (face, *_) = certain_faces(image.transpose(turn), finder, POLICY)
    turned = Image.new("L", image.size)
    turned.paste(255, [round(value) for value in upright.box])
    expected = turned.transpose(turn).getbbox()
    assert expected is not None
    assert np.abs(np.array(face.box) - expected).max() < 0.2 * upright.side
    assert roll_degrees(face) > 60


@pytest.mark.parametrize(("second", "degrees"), [((1, 0), 0), ((1, 1), 45), ((0, -1), 90), ((-1, 0), 180)])
def test_roll(second: tuple[int, int], degrees: float) -> None:
    face = Face((0.0, 0.0, 9.0, 9.0), 1.0, ((5.0, 5.0), (5.0 + second[0], 5.0 + second[1])))
    assert math.isclose(roll_degrees(face), degrees)


def test_tonal_measures() -> None:
    halves = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=0)
    assert math.isclose(effective_levels(halves), 2)
    assert math.isclose(large_steps(halves), 8 / (8 + 14))
    assert (effective_levels(halves[:, :1]), large_steps(halves[:1, :1])) == (1, 0)
    every = np.arange(256, dtype=np.uint8)[None]
    assert math.isclose(effective_levels(every), 256)


@pytest.mark.parametrize("asked", [True, False])
def test_tones_are_measured_where_a_gate_asks_for_them(asked: bool, images: dict[str, Image.Image]) -> None:
    image = next(iter(images.values()))
    gates = POLICY.quality_gates
    if not asked:
        gates = gates.model_copy(update={"min_tonal_levels": 0.0, "max_large_steps": 1.0})
    face = Face((10.0, 10.0, 90.0, 90.0), 0.9, ((30.0, 40.0), (70.0, 40.0)))
    found = quality.measure(image, face, np.asarray(image.resize((64, 64))), JpegQuality(None, "unknown"), gates)
    assert (found.tonal_levels is not None, found.large_steps is not None) == (asked, asked)


def test_a_dithered_face_that_is_judged_is_seen(
    monkeypatch: pytest.MonkeyPatch, images: dict[str, Image.Image], finder: FaceBackend
) -> None:
    monkeypatch.setattr(quality, "has_few_tonal_values", quality.has_few_tonal_values)
    guardrail_mutants.dithered_is_real()
    photographs = {name: Photograph(image) for name, image in images.items()}
    assert without(coded(photographs, FEW_TONES["dithered"], POLICY, finder), ReasonCode.FEW_TONAL_VALUES)


def test_an_older_contract_asks_for_none_of_it() -> None:
    old = load_contract(ROOT / "gates" / "units" / "release" / "fixtures" / "released" / "policy_contract.yaml")
    policy = old.policy
    assert (policy.face_detector.second_look, policy.quality_gates.max_roll) == ("off", 180)
    knobs = ("face_detector.second_look", "quality_gates.min_tonal_levels", "quality_gates.max_roll")
    new = old.with_values({knob: CONTRACT.values[knob] for knob in knobs})
    assert new.digest != old.digest
    assert new.tensor_digest == old.tensor_digest
