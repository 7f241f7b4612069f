"""Post-processing is drawn from a seed alone, keeps the size, and does what its plan says."""

from __future__ import annotations

import inspect
import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.training.forgeries import post_processing as pp
from gates.support.drawn_people import drawn_face


def test_a_plan_is_drawn_from_randomness_alone() -> None:
    """No argument could carry a label, and nothing that is kept between calls could either."""
    assert list(inspect.signature(pp.draw_plan).parameters) == ["rng"]
    first = [pp.draw_plan(np.random.default_rng(seed)) for seed in range(50)]
    again = [pp.draw_plan(np.random.default_rng(seed)) for seed in reversed(range(50))][::-1]
    assert first == again


def test_both_halves_of_one_stream_have_one_distribution() -> None:
    """Taken by turns, as a trainer draws for real and fake: counts differ by less than five standard deviations."""
    rng, n = np.random.default_rng(11), 4000
    plans = [pp.draw_plan(rng) for _ in range(2 * n)]
    for classify in (len, lambda plan: plan[0].kind if plan else ""):
        sides = [Counter(classify(plan) for plan in plans[side::2]) for side in (0, 1)]
        for key in set(sides[0]) | set(sides[1]):
            assert abs(sides[0][key] - sides[1][key]) < 5 * np.sqrt(sides[0][key] + sides[1][key])


def test_every_operation_and_its_whole_range_occur() -> None:
    rng = np.random.default_rng(5)
    steps = [step for _ in range(6000) for step in pp.draw_plan(rng)]
    shares = Counter(step.kind for step in steps)
    for kind, share in zip(pp.KINDS, pp.SHARES, strict=True):
        assert abs(shares[kind] / len(steps) - share) < 0.03
    limits = {
        "jpeg": pp.JPEG_QUALITY,
        "resize": pp.RESIZE_FACTOR,
        "blur": pp.BLUR_RADIUS,
        "noise": pp.NOISE,
        "screenshot": pp.SCREEN_FACTOR,
    }
    for kind, (low, high) in limits.items():
        found = [step.strength for step in steps if step.kind == kind]
        assert low <= min(found) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(found) <= high


def test_the_range_covers_the_transform_suite() -> None:
    """E6.3 asks for JPEG 95, 75, 50 and 30."""
    assert pp.JPEG_QUALITY[0] <= 30
    assert pp.JPEG_QUALITY[1] >= 95


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_size_and_type_are_kept_and_bits_repeat(seed: int, policy: Any) -> None:
    picture = drawn_face(5)[100:231, 90:267]
    before = picture.copy()
    plan = pp.draw_plan(np.random.default_rng(seed))
    first, second = (pp.post_process(picture, plan, policy.pixel_pipeline) for _ in range(2))
    assert first.shape == picture.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(picture, before)
    if not plan:
        assert first is picture


@pytest.mark.parametrize("kind", pp.KINDS)
def test_every_operation_changes_pixels_but_not_their_place(kind: str, policy: Any) -> None:
    cv2 = pytest.importorskip("cv2", reason="phase correlation needs OpenCV")
    rng = np.random.default_rng(2)
    picture = drawn_face(5)
    steps = [step for _ in range(400) for step in pp.draw_plan(rng) if step.kind == kind][:6]
    assert len(steps) == 6
    for step in steps:
        made = pp.post_process(picture, (step,), policy.pixel_pipeline)
        assert not np.array_equal(made, picture)
        planes = [np.asarray(Image.fromarray(p).convert("L"), np.float64) for p in (picture, made)]
        shift, _ = cv2.phaseCorrelate(*planes)
        assert np.hypot(*shift) < 0.1, step


def test_jpeg_is_the_canonical_decoder_s(policy: Any) -> None:
    picture = drawn_face(5)
    made = pp.post_process(picture, (pp.Step("jpeg", 50.0, "4:2:0"),), policy.pixel_pipeline)
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=50, subsampling="4:2:0")
    with Image.open(stored) as image:
        assert np.array_equal(made, np.asarray(image.convert("RGB")))


def test_noise_is_as_strong_as_planned(policy: Any) -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    made = pp.post_process(flat, (pp.Step("noise", 3.0, seed=9),), policy.pixel_pipeline)
    assert (made.astype(float) - 128).std() == pytest.approx(3.0, rel=0.05)
