"""Crop, resize and normalisation against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.preprocess import CropBox, check_tensor, cut, normalise, resize
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from gates.support.made_pictures import asymmetric
from gates.support.pixel_policies import FACES, PIXELS, faces_with, pixels_with

SIDE = PIXELS.input_size
RAMP = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)


def test_cut_takes_exactly_the_box() -> None:
    picture = asymmetric(80, 60)
    box = CropBox(11, 7, 52, 48)
    assert np.array_equal(np.asarray(cut(picture, box, FACES)), np.asarray(picture)[7:48, 11:52])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(-40, 79), st.integers(-40, 59), st.integers(1, 120))
def test_replicated_edges(x0: int, y0: int, side: int) -> None:
    picture = asymmetric(80, 60)
    box = CropBox(x0, y0, x0 + side, y0 + side)
    if box.x1 <= 0 or box.y1 <= 0:
        return
    rows = np.clip(np.arange(box.y0, box.y1), 0, 59)
    columns = np.clip(np.arange(box.x0, box.x1), 0, 79)
    expected = np.asarray(picture)[rows][:, columns]
    assert np.array_equal(np.asarray(cut(picture, box, faces_with(crop_overflow="replicate"))), expected)


def test_resize_reads_nothing_beyond_the_cut() -> None:
    inside = asymmetric(300, 300)
    framed = Image.new("RGB", (400, 400), (255, 0, 255))
    framed.paste(inside, (50, 50))
    crop = cut(framed, CropBox(50, 50, 350, 350), FACES)
    assert np.array_equal(resize(crop, PIXELS), resize(inside, PIXELS))
    assert resize(crop, PIXELS).shape == (SIDE, SIDE, 3)
    assert resize(crop, PIXELS).dtype == np.uint8


def test_resize_of_a_crop_of_the_right_size_changes_nothing() -> None:
    picture = asymmetric(SIDE, SIDE)
    s3 = resize(picture, PIXELS)
    assert np.array_equal(s3, np.asarray(picture))
    s3[0, 0] = 9  # an array of its own, which may be written to
    assert picture.getpixel((0, 0)) != (9, 9, 9)


def test_halving_averages_with_the_triangle_of_the_definition() -> None:
    """Bilinear with antialias at factor 2: weights 1, 3, 3, 1 (eighths) a dimension, renormalised at the edge."""
    row = np.random.default_rng(5).integers(0, 256, 2 * SIDE).astype(np.float64)
    padded = np.pad(row, 1)
    weights = np.array([1, 3, 3, 1]) / 8
    windows = np.stack([padded[k : k + 2 * SIDE : 2] for k in range(4)])
    present = np.pad(np.ones(2 * SIDE), 1)
    norm = weights @ np.stack([present[k : k + 2 * SIDE : 2] for k in range(4)])
    expected = weights @ windows / norm
    picture = Image.fromarray(np.broadcast_to(row.astype(np.uint8)[None, :, None], (2 * SIDE, 2 * SIDE, 3)).copy())
    assert np.abs(resize(picture, PIXELS)[100, :, 1] - expected).max() <= 0.51


@pytest.mark.parametrize("kernel", ["nearest", "box", "hamming", "bicubic", "lanczos"])
def test_every_other_kernel_gives_another_s3(kernel: str) -> None:
    picture = asymmetric(700, 700)
    assert not np.array_equal(resize(picture, PIXELS), resize(picture, pixels_with(resize_kernel=kernel)))


def test_normalise_all_levels_against_the_formula() -> None:
    s4 = normalise(RAMP, PIXELS)
    assert s4.dtype == np.float32
    for channel in range(3):
        mean, std = PIXELS.normalisation_mean[channel], PIXELS.normalisation_std[channel]
        exact = (RAMP[..., channel].astype(np.float64) * PIXELS.pixel_scale - mean) / std
        assert np.array_equal(s4[..., channel], exact.astype(np.float32))


def test_normalise_follows_the_contract_and_keeps_channels_apart() -> None:
    level = np.zeros((1, 1, 3), np.uint8)
    level[0, 0] = (10, 20, 30)
    policy = pixels_with(pixel_scale=1.0, normalisation_mean=[1.0, 2.0, 3.0], normalisation_std=[1.0, 2.0, 4.0])
    assert normalise(level, policy)[0, 0].tolist() == [9.0, 9.0, 6.75]


@pytest.mark.parametrize("bad", [RAMP.astype(np.float32), RAMP[..., 0], RAMP[..., :2], RAMP.astype(np.int16)])
def test_normalise_refuses_what_is_not_s3(bad: NDArray[Any]) -> None:
    with pytest.raises(Rejected) as caught:
        normalise(bad, PIXELS)
    assert caught.value.codes == (ReasonCode.PIXEL_INVARIANT,)


def _batch() -> NDArray[np.float32]:
    return normalise(resize(asymmetric(400, 400), PIXELS), PIXELS)[None].copy()


def test_good_tensors_pass() -> None:
    check_tensor(_batch(), PIXELS)
    extremes = np.zeros((SIDE, SIDE, 3), np.uint8)
    extremes[: SIDE // 2] = 255
    check_tensor(np.stack([normalise(extremes, PIXELS)] * 3), PIXELS)


def test_broken_tensors_are_refused() -> None:
    good = _batch()
    broken: dict[str, NDArray[Any]] = {
        "float64": good.astype(np.float64),
        "uint8": good.astype(np.uint8),
        "NCHW": np.ascontiguousarray(good.transpose(0, 3, 1, 2)),
        "no batch": good[0],
        "empty batch": good[:0],
        "smaller": good[:, :128],
        "levels instead of S4": (good * 60 + 120).astype(np.float32),
    }
    for name, value in (("nan", np.nan), ("infinite", np.inf), ("too large", 2.7), ("too small", -2.2)):
        broken[name] = good.copy()
        broken[name][0, 5, 5, 0] = value
    for name, batch in broken.items():
        with pytest.raises(Rejected) as caught:
            check_tensor(batch, PIXELS)
        assert caught.value.codes == (ReasonCode.PIXEL_INVARIANT,), name
