"""The heatmap, read pixel by pixel: colours by sign and strength, the box where the largest cell is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ecdd.bundle import load_bundle
from ecdd.heatmap import heatmap, overlay
from ecdd.inference.patch_grid import cell_box

POLICY = load_bundle("tiny").contract.policy
GREY = np.full((256, 256, 3), 128, np.uint8)
# where the tinted face begins: margin + first face + margin, below the header; every S4 pixel is two wide
LEFT, TOP, SCALE = 16 + 512 + 16, 64, 2


def drawn(patch_map: NDArray[np.float32], s3: NDArray[np.uint8] = GREY) -> NDArray[np.int64]:
    image = heatmap(s3, patch_map, POLICY, "fake, P(fake) = 0.900", "a.jpg")
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


def at(pixels: NDArray[np.int64], row: float, col: float) -> NDArray[np.int64]:
    """Colour of an S4 pixel in the tinted face."""
    return pixels[int(TOP + SCALE * row), int(LEFT + SCALE * col)]  # type: ignore[no-any-return]


def spot(cell: tuple[int, int], value: float) -> NDArray[np.float32]:
    patch_map = np.zeros((31, 31), np.float32)
    patch_map[cell] = value
    return patch_map


def test_fake_is_red_real_is_blue_and_nothing_is_untinted() -> None:
    patch_map = spot((5, 20), 3.0) + spot((20, 5), -3.0)
    pixels = drawn(patch_map)
    red, blue = at(pixels, 5 * 8 + 5, 20 * 8 + 5), at(pixels, 20 * 8 + 5, 5 * 8 + 5)
    assert red[0] > red[1] + 60
    assert red[0] > red[2] + 60
    assert blue[2] > blue[0] + 60
    assert at(pixels, 100, 100).tolist() == [128, 128, 128]


def test_a_stronger_cell_is_coloured_more() -> None:
    pixels = drawn(spot((5, 5), 1.0) + spot((5, 20), 2.0) + spot((20, 20), 4.0))
    shades = [at(pixels, row * 8 + 4, col * 8 + 4) for row, col in ((5, 5), (5, 20), (20, 20))]
    redness = [int(shade[0] - shade[1]) for shade in shades]
    assert redness == sorted(redness)
    assert redness[0] < redness[1] < redness[2]


def test_one_extreme_cell_does_not_grey_out_the_others() -> None:
    patch_map = np.full((31, 31), 2.0, np.float32)
    patch_map[3, 3] = 200.0
    assert (at(drawn(patch_map), 100, 100) == at(drawn(np.full((31, 31), 2.0, np.float32)), 100, 100)).all()


def test_pixels_that_no_cell_sees_stay_uncoloured() -> None:
    pixels = drawn(np.full((31, 31), 2.0, np.float32))
    assert at(pixels, 252, 100).tolist() == [128, 128, 128]
    assert at(pixels, 100, 252).tolist() == [128, 128, 128]
    assert at(pixels, 200, 200)[0] > at(pixels, 200, 200)[1] + 40


@pytest.mark.parametrize("cell", [(0, 0), (3, 27), (30, 30), (17, 4)])
def test_the_box_lies_where_the_largest_cell_is(cell: tuple[int, int]) -> None:
    pixels = drawn(spot(cell, 1.0))
    tinted = pixels[TOP : TOP + 512, LEFT : LEFT + 512]
    rows, cols = np.nonzero((tinted == 0).all(axis=2))  # the black line of the box; nothing else here is black
    box = cell_box(*cell, POLICY.patch_grid)
    assert [rows.min(), cols.min()] == pytest.approx([2 * box.y0, 2 * box.x0], abs=2)
    assert [rows.max(), cols.max()] == pytest.approx([2 * box.y1, 2 * box.x1], abs=2)


def test_a_map_on_its_side_gives_another_picture() -> None:
    patch_map = np.random.default_rng(3).normal(0, 2, (31, 31)).astype(np.float32)
    assert (drawn(patch_map) != drawn(np.ascontiguousarray(patch_map.T))).any()


def test_the_face_stands_untouched_beside_it() -> None:
    s3 = np.random.default_rng(5).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(s3).resize((32, 32)).resize((256, 256)))
    pixels = drawn(np.zeros((31, 31), np.float32), smooth)
    original = np.asarray(Image.fromarray(smooth).resize((512, 512)))
    assert (pixels[TOP : TOP + 512, 16 : 16 + 512] == original).all()


def test_the_bar_runs_from_fake_to_real() -> None:
    pixels = drawn(spot((1, 1), 2.5))
    bar = pixels[TOP : TOP + 512, LEFT + 512 + 16 + 11]
    assert bar[1, 0] > bar[1, 2] + 60
    assert bar[510, 2] > bar[510, 0] + 60
    assert (abs(bar[256] - 200) <= 2).all()


def test_a_map_of_zeros_is_drawn() -> None:
    pixels = drawn(np.zeros((31, 31), np.float32))
    assert at(pixels, 100, 100).tolist() == [128, 128, 128]


def test_one_number_is_no_map() -> None:
    one = np.full((1, 1), 3.0, np.float32)
    assert (np.asarray(overlay(GREY, one, POLICY)) == 128).all(), "no colour, no box"
    pixels, mapped = drawn(one), drawn(np.full((31, 31), 3.0, np.float32))
    assert at(pixels, 100, 100).tolist() == [128, 128, 128]
    assert (pixels[:, LEFT + 512 + 1 :] == 250).all(), "no colour bar"
    assert (pixels[TOP + 512 :] != mapped[TOP + 512 :]).any(), "another line below the faces"
