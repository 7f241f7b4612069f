"""Generators give the same forgery for the same seed, and change nothing outside their mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.golden.golden_sets import load_golden
from ecdd.training.forgeries.face_shape import frame_of
from ecdd.training.forgeries.forgery import Forgery
from ecdd.training.forgeries.generated import generate_face, load_statistics
from ecdd.training.forgeries.self_blended import self_blend

# landmarks of the shipped portrait, pixels: eyes, nose, mouth, ears
LANDMARKS = ((204.0, 110.0), (241.0, 109.0), (222.0, 128.0), (223.0, 145.0), (186.0, 117.0), (262.0, 115.0))


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    from PIL import Image

    golden = load_golden()
    with Image.open(golden.file(golden.item("real_collins"))) as picture:
        return np.asarray(picture.convert("RGB"))


def _holds(before: NDArray[np.uint8], first: Forgery, second: Forgery, other: Forgery) -> None:
    assert np.array_equal(first.picture, second.picture)
    assert np.array_equal(first.mask, second.mask)
    assert not np.array_equal(first.picture, other.picture)
    outside = first.mask == 0
    assert np.array_equal(first.picture[outside], before[outside])
    changed = np.abs(first.picture.astype(int) - before).max(axis=2)
    assert changed[first.mask > 0.7].mean() > 1
    assert 0.01 < first.mask.mean() < 0.2
    assert first.mask[128, 222] > 0.7  # the nose


def test_self_blended(portrait: NDArray[np.uint8]) -> None:
    _holds(portrait, *(self_blend(portrait, LANDMARKS, seed) for seed in (1, 1, 2)))


def test_resynthesis(portrait: NDArray[np.uint8]) -> None:
    pytest.importorskip("torch", reason="re-synthesis needs the extra 'train'")
    from ecdd.training.forgeries.resynthesis import load_autoencoder, resynthesise

    network = load_autoencoder()
    forged = [resynthesise(portrait, LANDMARKS, network, seed) for seed in (1, 1, 2)]
    _holds(portrait, *forged)
    inside = forged[0].mask > 0.9
    error = np.abs(forged[0].picture.astype(int) - portrait)[inside].mean()
    assert error < 15  # it is still that face


def test_generated() -> None:
    statistics = load_statistics()
    assert statistics.faces >= 50
    first, second, other = (generate_face(statistics, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.picture, second.picture)
    assert np.abs(first.picture.astype(int) - other.picture).mean() > 5
    assert first.picture.shape == (512, 512, 3)
    assert first.mask.min() == 1


def test_frame_needs_a_face() -> None:
    with pytest.raises(ValueError, match="eyes, nose and mouth are needed"):
        frame_of(LANDMARKS[:2])


def test_frame_follows_the_eyes() -> None:
    matrix = frame_of(LANDMARKS)
    left, right = (matrix[:, :2] @ np.array([x, 0.0]) + matrix[:, 2] for x in (-0.5, 0.5))
    assert np.hypot(*(left - LANDMARKS[0])) < 4
    assert np.hypot(*(right - LANDMARKS[1])) < 4


def test_coinciding_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="landmarks coincide"):
        frame_of(((5.0, 9.0),) * 6)
