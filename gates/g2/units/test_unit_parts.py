"""The look at parts of long pictures, with the values of the shipped contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.golden.golden_sets import load_checked
from ecdd.pipeline import second_look
from ecdd.pipeline.face import Face, FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.parts import is_cut, moved_by, squares
from gates.support.framings import GREY, certain_faces, moved
from gates.support.portrait_groups import GAP, Group, group_rows, long_groups, placed_portraits, scaled, together
from gates.support.portraits import golden_portraits

ROOT = Path(__file__).parents[3]
CONTRACT = load_contract(ROOT / "contracts" / "policy_contract.yaml")
POLICY = CONTRACT.policy
OFF = CONTRACT.with_values({"face_detector.second_look_parts_ratio": 0.0}).policy
PORTRAITS = golden_portraits(load_checked(ROOT / "golden"))[:8]
LEAST = POLICY.face_detector.tolerance_framing


@pytest.fixture(scope="module")
def finder() -> FaceBackend:
    return load_detector(POLICY.face_detector)


@pytest.fixture(scope="module")
def one_look() -> FaceBackend:
    """The same without parts."""
    return load_detector(OFF.face_detector)


@pytest.fixture(scope="module")
def groups(finder: FaceBackend) -> dict[str, list[Group]]:
    return long_groups(placed_portraits(PORTRAITS, finder, POLICY))


def recalls(groups: dict[str, list[Group]], backend: FaceBackend) -> dict[str, float]:
    found = {}
    for kind, members in groups.items():
        rows = [row for row in group_rows(members, backend, POLICY) if row["kind"] == "face"]
        found[kind] = sum(row["found"] for row in rows) / len(rows)
    return found


SIZES = st.tuples(st.integers(1, 3000), st.integers(1, 3000)).filter(lambda size: max(size) <= 20 * min(size))


@given(SIZES, st.sampled_from((0.0, 0.25, 0.5, 0.75)))
def test_squares_cover_a_picture_evenly(size: tuple[int, int], overlap: float) -> None:
    found, side = squares(size, overlap), min(size)
    along = 0 if size[0] >= size[1] else 1
    starts = [square[along] for square in found]
    assert all(square[k + 2] - square[k] == side for square in found for k in (0, 1))
    assert (starts[0], found[-1][along + 2]) == (0, max(size))
    assert all(square[1 - along] == 0 for square in found)
    steps = np.diff(starts)
    assert not len(steps) or (steps.min() > 0 and steps.max() - steps.min() <= 1)
    assert not len(steps) or steps.max() <= side * (1 - overlap) + 1  # whole pixels
    turned = squares((size[1], size[0]), overlap)
    assert size[0] == size[1] or [(y0, x0, y1, x1) for x0, y0, x1, y1 in turned] == found


@given(SIZES.filter(lambda size: size[0] > size[1]))
def test_squares_of_a_mirrored_picture_are_mirrored(size: tuple[int, int]) -> None:
    starts = [square[0] for square in squares(size, 0.5)]
    mirrored = [size[0] - size[1] - start for start in reversed(starts)]
    assert np.abs(np.array(starts) - mirrored).max() <= 1  # halves are rounded up on either side


@pytest.mark.parametrize(("square", "box", "cut"), [
    ((0, 0, 10, 10), (-1.0, 1.0, 5.0, 9.0), False),  # over the picture's own edge
    ((0, 0, 10, 10), (3.0, 1.0, 11.0, 9.0), True),
    ((10, 0, 20, 10), (9.0, 1.0, 15.0, 9.0), True),
    ((10, 0, 20, 10), (10.0, -2.0, 20.0, 12.0), False),
    ((20, 0, 30, 10), (25.0, 1.0, 31.0, 9.0), False),
])  # fmt: skip
def test_only_an_edge_inside_the_picture_cuts(
    square: tuple[int, int, int, int], box: tuple[float, ...], cut: bool
) -> None:
    assert is_cut(box, square, (30, 10)) is cut


def test_a_face_of_a_part_lies_in_the_picture() -> None:
    face = Face((1.0, 2.0, 3.0, 5.0), 0.9, ((1.5, 2.5), (2.5, 2.5)), "part")
    assert moved_by(face, (7, 11)) == Face((8.0, 13.0, 10.0, 16.0), 0.9, ((8.5, 13.5), (9.5, 13.5)), "part")


def test_every_face_of_a_long_picture(groups: dict[str, list[Group]], finder: FaceBackend) -> None:
    assert recalls(groups, finder) == dict.fromkeys(groups, 1.0)
    every = [row for members in groups.values() for row in group_rows(members, finder, POLICY)]
    assert [row for row in every if row["kind"] == "too_many"] == []
    assert max(row["moved"] for row in every) <= LEAST


def test_without_parts_they_are_lost(groups: dict[str, list[Group]], one_look: FaceBackend) -> None:
    found = recalls(groups, one_look)
    assert max(found["stacked"], found["stacked_mixed_sizes"]) < POLICY.quality_gates.min_recall


def test_a_mirrored_picture_has_mirrored_faces(groups: dict[str, list[Group]], finder: FaceBackend) -> None:
    for kind in ("mixed_sizes", "stacked"):
        image = groups[kind][0].image
        faces = certain_faces(image, finder, POLICY)
        mirrored = certain_faces(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), finder, POLICY)
        assert len(faces) == len(mirrored)
        for face in faces:
            x0, y0, x1, y1 = face.box
            there = (image.width - x1, y0, image.width - x0, y1)
            assert min(moved(other, there) for other in mirrored) <= LEAST


def test_the_same_picture_gives_the_same_faces_in_order(groups: dict[str, list[Group]], finder: FaceBackend) -> None:
    image = groups["mixed_sizes"][0].image
    faces = finder.detect(image)
    assert faces == load_detector(POLICY.face_detector).detect(image.copy())
    assert [-face.score for face in faces] == sorted(-face.score for face in faces)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_face_on_a_seam_is_found_once(finder: FaceBackend, stacked: bool) -> None:
    """Moved along a long picture in small steps, over the edges of the squares, a face stays one face."""
    one = scaled(placed_portraits(PORTRAITS[:1], finder, POLICY)[0], 0.5)
    behind = Image.new("RGB", (40, 900) if stacked else (900, 40), GREY)
    for shift in range(0, one[0].size[stacked], 23):
        before = Image.new("RGB", (GAP + shift, GAP + shift), GREY)
        group = together([(before, (0.0,) * 4), one, (behind, (0.0,) * 4)], stacked=stacked)
        assert max(group.image.size) > 1.8 * min(group.image.size)
        (face,) = certain_faces(group.image, finder, POLICY)
        assert moved(face, group.boxes[1]) <= LEAST


def test_other_pictures_give_what_they_gave(
    groups: dict[str, list[Group]], finder: FaceBackend, one_look: FaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the ratio, beyond the most squares, and where the knob is off, nothing is read in parts."""
    image = groups["mixed_sizes"][0].image
    square = image.crop((0, 0, image.height, image.height))
    ordinary = image.crop((0, 0, round(1.8 * image.height), image.height))
    few = load_detector(POLICY.face_detector.model_copy(update={"second_look_parts_most": 2}))
    with monkeypatch.context() as patched:
        patched.setattr(second_look, "is_cut", None)  # asked of every face of a part
        for backend, picture in ((finder, square), (finder, ordinary), (few, image), (one_look, image)):
            assert backend.detect(picture) == one_look.detect(picture)


def test_an_older_contract_does_not_ask_for_parts() -> None:
    folder = ROOT / "gates" / "units" / "release" / "fixtures" / "released"
    old = load_contract(folder / "policy_contract.yaml")
    assert old.policy.face_detector.second_look_parts_ratio == 0
    knobs = POLICY.face_detector.model_dump()
    names = ("second_look", "second_look_doubt", *(name for name in knobs if name.startswith("second_look_parts_")))
    new = old.with_values({f"face_detector.{name}": knobs[name] for name in names})
    assert new.digest != old.digest
    assert new.tensor_digest == old.tensor_digest  # no network has to be trained again
