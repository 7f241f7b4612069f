"""Where a face is cut out: whole pixels, inside the picture, the same every time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.pipeline.face import (
    Face,
    crop_side,
    eye_line_angle,
    face_crop_box,
    round_half_up,
    sort_faces,
    turned_crop,
)

pytestmark = pytest.mark.experiment("E2.4", rules=True)

POLICY = load_contract(Path(__file__).parents[3] / "contracts" / "policy_contract.yaml").policy.face_detector

sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
offsets = st.floats(-2000, 6000, allow_nan=False)
lengths = st.floats(0.01, 5000, allow_nan=False)


@st.composite
def faces(draw: st.DrawFn) -> Face:
    x, y, width, height = draw(offsets), draw(offsets), draw(lengths), draw(lengths)
    marks = tuple((draw(offsets), draw(offsets)) for _ in range(draw(st.sampled_from([0, 2, 6]))))
    return Face((x, y, x + width, y + height), draw(st.floats(0, 1)), marks)


@settings(deadline=None)
@given(face=faces(), size=sizes, alignment=st.sampled_from(["axis_aligned", "eye_line"]))
def test_the_crop_is_a_square_inside_the_picture(face: Face, size: tuple[int, int], alignment: str) -> None:
    policy = POLICY.model_copy(update={"crop_alignment": alignment})
    box = face_crop_box(face, size, policy)
    assert all(type(value) is int for value in box)
    assert box.x1 - box.x0 == box.y1 - box.y0 >= 1
    assert 0 <= box.x0 < box.x1 <= size[0]
    assert 0 <= box.y0 < box.y1 <= size[1]
    assert box == face_crop_box(face, size, policy)


@settings(deadline=None)
@given(face=faces(), size=sizes)
def test_side_is_margin_times_the_longer_box_side_unless_the_picture_is_smaller(
    face: Face, size: tuple[int, int]
) -> None:
    box = face_crop_box(face, size, POLICY)
    assert box.x1 - box.x0 == min(max(math.floor(POLICY.crop_margin * face.side + 0.5), 1), *size)


@settings(deadline=None)
@given(face=faces(), size=sizes)
def test_replicate_leaves_the_square_where_it_is(face: Face, size: tuple[int, int]) -> None:
    policy = POLICY.model_copy(update={"crop_overflow": "replicate"})
    box = face_crop_box(face, size, policy)
    assert box.x1 - box.x0 == box.y1 - box.y0 == crop_side(face, policy)
    assert abs((box.x0 + box.x1) / 2 - (face.box[0] + face.box[2]) / 2) <= 0.5


def test_known_boxes() -> None:
    policy = POLICY.model_copy(update={"crop_margin": 1.5})
    middle = Face((40.0, 50.0, 60.0, 60.0), 0.9)
    assert face_crop_box(middle, (100, 100), policy) == (35, 40, 65, 70)
    corner = Face((-5.0, 0.0, 15.0, 20.0), 0.9)
    assert face_crop_box(corner, (100, 80), policy) == (0, 0, 30, 30)
    large = Face((0.0, 0.0, 90.0, 90.0), 0.9)
    assert face_crop_box(large, (100, 80), policy) == (5, 0, 85, 80)


def test_halves_round_upwards_and_not_to_the_even_neighbour() -> None:
    assert [round_half_up(value) for value in (0.5, 1.5, 2.5, -0.5, -1.5)] == [1, 2, 3, 0, -1]


@settings(deadline=None)
@given(st.lists(faces(), max_size=8), st.randoms(use_true_random=False))
def test_order_of_faces_does_not_depend_on_order_found(found: list[Face], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sort_faces(shuffled) == sort_faces(found)


@pytest.mark.parametrize("degrees", [-45, -30, 0, 20, 45])
def test_the_crop_of_a_tilted_face_holds_the_turned_square(degrees: float) -> None:
    """A square of side s turned by a lies in an upright one of side s (|cos a| + |sin a|), and in no smaller one."""
    angle = math.radians(degrees)
    reach = (20 * math.cos(angle), 20 * math.sin(angle))
    face = Face(
        (900.0, 900.0, 1100.0, 1100.0), 0.9, ((1000 - reach[0], 1000 - reach[1]), (1000 + reach[0], 1000 + reach[1]))
    )
    box = face_crop_box(face, (2000, 2000), POLICY.model_copy(update={"crop_alignment": "eye_line"}))
    wanted = crop_side(face, POLICY) * (abs(math.cos(angle)) + abs(math.sin(angle)))
    assert abs(box.x1 - box.x0 - wanted) <= 0.5
    assert abs(box.y1 - box.y0 - wanted) <= 0.5


@pytest.mark.parametrize("degrees", [-40, -10, 0, 10, 30])
def test_the_turned_crop_has_a_level_eye_line_and_no_pixel_from_outside(degrees: float) -> None:
    """Two coloured dots for eyes on grey; after turning they lie on one row. Outside would be black."""
    angle = math.radians(degrees)
    centre, reach = 200.0, 40.0
    left = (centre - reach * math.cos(angle), centre - reach * math.sin(angle))
    right = (centre + reach * math.cos(angle), centre + reach * math.sin(angle))
    levels = np.full((400, 400, 3), 128, np.uint8)
    rows, cols = np.mgrid[:400, :400] + 0.5
    for point, colour in ((left, (255, 128, 128)), (right, (128, 255, 128))):
        levels[np.hypot(cols - point[0], rows - point[1]) < 6] = colour
    face = Face((120.0, 120.0, 280.0, 280.0), 0.9, (left, right))
    assert eye_line_angle(face) == pytest.approx(angle)
    policy = POLICY.model_copy(update={"crop_alignment": "eye_line"})
    box = face_crop_box(face, (400, 400), policy)
    crop = np.asarray(turned_crop(Image.fromarray(levels), face, box)).astype(int)
    assert crop.min() >= 127
    red = np.argwhere(crop[..., 0] > 200).mean(axis=0)
    green = np.argwhere(crop[..., 1] > 200).mean(axis=0)
    assert red[0] == pytest.approx(green[0], abs=0.5)
    assert green[1] - red[1] == pytest.approx(2 * reach, abs=0.5)
    assert (red[1] + green[1] + 1) / 2 == pytest.approx(crop.shape[1] / 2, abs=0.75)
