"""Up-sampling kernels and the pyramid of the latent resampling, against what they are defined to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.pipeline.blur import laplacian_variance

cv2 = pytest.importorskip("cv2", reason="up-sampling needs the extra 'train'")

from ecdd.training.forgeries import latent_resampling as lr  # noqa: E402 - after the skip
from ecdd.training.forgeries import upsampling as up  # noqa: E402
from ecdd.training.forgeries.registry import forge  # noqa: E402
from gates.support.drawn_people import person  # noqa: E402

RNG = np.random.default_rng(0)
PLANE = RNG.uniform(0, 255, (24, 20, 3)).astype(np.float32)


def test_nearest_repeats() -> None:
    doubled = up.draw_doubling(RNG, "nearest")(PLANE)
    assert np.array_equal(doubled, PLANE.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_smooth_kernels_are_the_library_s(kind: str) -> None:
    """Away from the border they are what OpenCV's resize computes (it knows a = -0.75 as well)."""
    flag = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[kind]
    want = cv2.resize(PLANE, (40, 48), interpolation=flag)
    got = up.draw_doubling(RNG, kind)(PLANE)
    assert np.abs(got - want)[6:-6, 6:-6].max() < 1e-2


def test_convolved_nearest_is_a_convolution_of_the_nearest() -> None:
    """One 3 x 3 kernel, found from the output, predicts every pixel of it, up to the level of its phase."""
    doubling = up.draw_doubling(np.random.default_rng(7), "nearest_convolved")
    repeated = PLANE.repeat(2, axis=0).repeat(2, axis=1)
    inner = np.s_[4:-4, 4:-4, 0]
    columns = np.stack([np.roll(repeated, (1 - u, 1 - v), axis=(0, 1))[inner].ravel() for u, v in np.ndindex(3, 3)], 1)
    levels = np.tile(doubling.weights.sum(axis=(2, 3)), PLANE.shape[:2])[4:-4, 4:-4].ravel()
    target = doubling(PLANE)[inner].ravel() / levels
    kernel, *_ = np.linalg.lstsq(columns, target, rcond=None)
    assert np.ptp(target) > 50
    assert kernel.sum() == pytest.approx(1, abs=1e-4)
    # each phase was levelled by its own sum, which the kernel's noise moves by a little
    assert np.abs(columns @ kernel - target).max() < 0.01


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(up.KINDS))
def test_a_flat_picture_shows_the_checkerboard_alone(seed: int, kind: str) -> None:
    doubling = up.draw_doubling(np.random.default_rng(seed), kind)
    doubled = doubling(np.full((8, 8, 1), 100.0, np.float32))
    sums = doubling.weights.sum(axis=(2, 3))
    assert np.abs(doubled[..., 0] - 100 * np.tile(sums, (8, 8))).max() < 1e-3
    assert np.abs(sums - 1).max() < 0.06
    if kind in ("nearest", "bilinear", "bicubic"):
        assert np.abs(sums - 1).max() < 1e-12


def test_learnt_kernels_differ_from_seed_to_seed() -> None:
    for kind in ("nearest_convolved", "transposed"):
        first, again, other = (up.draw_doubling(np.random.default_rng(seed), kind).weights for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_halving_is_centred() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32)[None, :, None], (32, 32, 1)).copy()
    for kernel in ((1.0, 1.0), (1.0, 3.0, 3.0, 1.0)):
        small = up.halved(ramp, kernel)
        assert small.shape == (16, 16, 1)
        assert np.abs(small[4:-4, 4:-4, 0] - (2 * np.arange(16) + 0.5)[None, 4:-4]).max() < 1e-4


def test_halving_by_mean_undoes_repeating() -> None:
    assert np.abs(up.halved(up.draw_doubling(RNG, "nearest")(PLANE), (1.0, 1.0)) - PLANE).max() < 1e-4


@pytest.mark.parametrize("levels", [2, 3])
def test_the_pyramid_is_complete(levels: int) -> None:
    plane = RNG.uniform(0, 255, (64, 48, 3)).astype(np.float32)
    base, details = lr._code(plane, levels)
    assert base.shape[0] == 64 >> levels
    for detail in reversed(details):
        base = lr.SMOOTH(base) + detail
    assert np.abs(base - plane).max() < 1e-3


def test_the_denoiser_denoises() -> None:
    """Noise on a smooth picture falls by half at least; an edge much stronger than the noise stays."""
    y, x = np.mgrid[:64, :64].astype(np.float32)
    clean = np.repeat((np.where(x < 32, 40.0, 200.0).astype(np.float32) + 0.2 * y)[..., None], 3, axis=2)
    sigma = np.full((1, 1, 3), 6.0, np.float32)
    noisy = clean + 6 * np.random.default_rng(1).standard_normal(clean.shape, np.float32)
    found = lr._denoised(noisy, sigma)
    smooth = np.s_[:, 4:28]
    assert np.abs(found - clean)[smooth].std() < 0.6 * np.abs(noisy - clean)[smooth].std()
    assert (found[:, 34] - found[:, 29]).mean() > 140


def test_sampling_of_a_flat_code_is_no_change() -> None:
    code = np.full((12, 12, 3), 9.0, np.float32)
    assert np.allclose(lr._sampled(code, 0.5, 6, np.random.default_rng(0)), code)


def test_window_keeps_the_phase() -> None:
    from ecdd.training.forgeries.forged_region import window_of

    mask = np.zeros((100, 90), np.float32)
    mask[33:60, 41:44] = 1
    x0, y0, x1, y1 = window_of(mask, 8, 5)
    assert (x0 % 8, y0 % 8) == (0, 0)
    assert (x1 - x0) % 8 == 0
    assert (x0 <= 36, y0 <= 28, x1 >= 49, y1 >= 65) == (True,) * 4
    assert window_of(np.ones((100, 90), np.float32), 8, 5) == (0, 0, 90, 100)


def test_forgeries_are_sharp_enough_to_be_judged(policy: Any) -> None:
    """Of a sharp face the traces leave one that is not a blur: less would only teach sharpness."""
    source = person(5, policy)
    before = laplacian_variance(source.picture)
    for name in ("latent_resampling", "upsampling"):
        after = [laplacian_variance(forge(name, source, seed).picture) for seed in range(12)]
        assert np.median(after) > 0.3 * before, name


def test_no_kernel_shifts_the_picture(policy: Any) -> None:
    source = person(5, policy)
    for name in ("latent_resampling", "upsampling"):
        whole = [s for s in range(24) if forge(name, source, s).parameters["region"] == "picture"][:4]
        assert whole
        for seed in whole:
            forged = forge(name, source, seed).picture
            planes = [np.asarray(Image.fromarray(p).convert("L"), np.float64) for p in (source.picture, forged)]
            window = cv2.createHanningWindow(source.size, cv2.CV_64F)
            shift, _ = cv2.phaseCorrelate(*planes, window)
            assert np.hypot(*shift) < 0.3, (name, seed)
