"""Boxes go back through EXIF orientation to the pixels of the file, and the trace says where the largest cell lies."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.detector import Detector
from ecdd.pipeline.orientation import TRANSPOSE, box_to_stored, upright
from gates.support.drawn_faces import scene
from gates.support.drawn_pictures import FAKE, contract

INVERSE = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@settings(deadline=None, max_examples=120, derandomize=True)
@given(st.integers(1, 8), st.integers(2, 40), st.integers(2, 40), st.data())
def test_a_box_holds_the_same_pixels_in_the_file(
    orientation: int, width: int, height: int, data: st.DataObject
) -> None:
    noise = np.random.default_rng(width * 41 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stored = Image.fromarray(noise)
    turned = upright(stored, orientation)
    x0, y0 = data.draw(st.integers(0, turned.width - 1)), data.draw(st.integers(0, turned.height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, turned.width)), data.draw(st.integers(y0 + 1, turned.height))
    again = upright(stored.crop(box_to_stored((x0, y0, x1, y1), orientation, stored.size)), orientation)
    assert again.tobytes() == turned.crop((x0, y0, x1, y1)).tobytes()


def stored_png(picture: Image.Image, orientation: int) -> bytes:
    """The picture as a camera held otherwise stores it, with the tag that turns it upright."""
    method = INVERSE.get(orientation, TRANSPOSE.get(orientation))
    turned = picture if method is None else picture.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def largest_cell(detector: Detector, content: bytes) -> dict[str, Any]:
    (row,) = [row for row in detector.examine(content).rows() if row["stage"] == "S5"]
    return row


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("tiny", contract(FAKE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_largest_cell_is_found_in_the_file(detector: Detector, orientation: int) -> None:
    picture = scene((420, 380), [(70, 60, 260)], seed=3, noise=6)
    straight = largest_cell(detector, stored_png(picture, 1))
    content = stored_png(picture, orientation)
    turned = largest_cell(detector, content)
    for place in ("argmax", "argmax_in_s4", "argmax_in_picture"):
        assert turned[place] == straight[place], place
    x0, y0, x1, y1 = straight["argmax_in_picture"]
    assert 0 <= x0 < x1 <= 420
    assert 0 <= y0 < y1 <= 380
    outer = [int(x0), int(y0), int(x1) + 1, int(y1) + 1]
    with Image.open(io.BytesIO(content)) as stored:
        around = box_to_stored(outer, orientation, stored.size)
        cut = upright(stored.convert("RGB").crop(around), orientation)
    assert cut.tobytes() == picture.crop((outer[0], outer[1], outer[2], outer[3])).tobytes()
    a0, b0, a1, b1 = turned["argmax_in_stored"]
    assert around[0] <= a0 < a1 <= around[2]
    assert around[1] <= b0 < b1 <= around[3]


def test_a_turned_crop_names_no_box_of_the_picture() -> None:
    turned = Detector.load("tiny", contract({**FAKE, "face_detector.crop_alignment": "eye_line"}))  # type: ignore[dict-item]
    row = largest_cell(turned, stored_png(scene((420, 380), [(70, 60, 260)], seed=3, noise=6), 1))
    assert "argmax_in_s4" in row
    assert "argmax_in_picture" not in row
