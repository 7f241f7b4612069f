"""Local re-synthesis in the manner of latent diffusion: code to 1/8, add noise, denoise step by step, decode.

What it shares with a latent diffusion model: the picture is coded at an eighth of its size (smaller faces at a quarter
or half, like a picture that was reduced after it was made); the finest detail is not coded at all; the code is brought
back from noise over several steps, each of which estimates the clean code and adds less noise again; a decoder doubles
the size step by step with convolutions, and invents the finest detail from the coarser. So fine texture is replaced by
texture of the same strength that never was in the scene, and the traces of the up-sampling lie over it.

What it is not: there is no learnt prior, no text, no attention. The coder is a fixed pyramid, the denoiser a local
Wiener filter, the decoder's weights are drawn at random near smooth kernels. It changes texture, not content, and it
proves nothing about the detection of any named diffusion model.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from ecdd.training.forgeries.forged_region import draw_region, window_of
from ecdd.training.forgeries.forgery import FacePicture, Forgery, blend
from ecdd.training.forgeries.upsampling import KINDS, Doubling, Plane, draw_doubling, halved, padded_to

NAME: Final = "latent_resampling"
# px, side of the face from which the picture is halved once more: three times makes a code of an eighth
HALVED_FROM: Final = (0, 120, 260)
SMOOTH: Final = Doubling("bilinear", draw_doubling(np.random.default_rng(0), "bilinear").weights)
# luma and two colour differences: noise in them is not of one strength
TO_OPPONENT: Final = np.array([[0.299, 0.587, 0.114], [0.5, 0.0, -0.5], [-0.25, 0.5, -0.25]], np.float32)
TO_RGB: Final = np.linalg.inv(TO_OPPONENT.astype(np.float64)).astype(np.float32)


def resample_latent(source: FacePicture, seed: int) -> Forgery:
    """Re-synthesise a part of a picture.

    Parameters
    ----------
    source : FacePicture
        A real face.
    seed : int
        Decides place, strength, steps, kernels and all noise.

    Returns
    -------
    Forgery
        Pixels outside the mask are those of the source, bit for bit.
    """
    rng = np.random.default_rng(seed)
    mask, region = draw_region(source, rng)
    levels = sum(source.face.side >= least for least in HALVED_FROM)
    x0, y0, x1, y1 = window_of(mask, 1 << levels, 16)
    part = source.picture[y0:y1, x0:x1].astype(np.float32)
    strength, steps = float(rng.uniform(0.15, 0.5)), int(rng.integers(4, 11))
    # decoders put a convolution behind every repetition of pixels
    doublings = [draw_doubling(rng, str(rng.choice(KINDS[1:]))) for _ in range(levels)]
    invented = float(rng.uniform(0.7, 1.2))
    base, details = _code(padded_to(part, 1 << levels) @ TO_OPPONENT.T, levels)
    # the coarsest code carries the face itself: noise there is kept to a few grey levels
    plane = _sampled(base, 0.02 * strength, steps, rng)
    for level in reversed(range(levels)):
        doubled = doublings[level](plane)
        kept = details[level]
        if level == 0:
            detail = _invented(plane, kept, doublings[0], invented, rng)
        else:
            detail = _like(_sampled(kept, strength / (2 * level - 1), steps, rng), kept)
        plane = doubled + detail
    made = source.picture.astype(np.float64)
    made[y0:y1, x0:x1] = (plane @ TO_RGB.T)[: part.shape[0], : part.shape[1]]
    parameters: dict[str, float | int | str] = {
        "region": region,
        "strength": round(strength, 3),
        "steps": steps,
        "code": f"1/{1 << levels}",
        "kernels": "+".join(doubling.kind for doubling in reversed(doublings)),
        "invented_detail": round(invented, 3),
    }
    return Forgery(blend(source.picture, made, mask), mask, NAME, parameters)


def _code(plane: Plane, levels: int) -> tuple[Plane, list[Plane]]:
    """Laplacian pyramid: what is left at the end, and the detail of each level, finest first."""
    details = []
    for _ in range(levels):
        small = halved(plane)
        details.append(plane - SMOOTH(small))
        plane = small
    return plane, details


def _box(plane: Plane, side: int) -> Plane:
    """Local mean, (H, W, C); a convolution, because running sums lose digits and depend on the threads."""
    line = np.full(side, 1 / side)
    made = cv2.sepFilter2D(plane, cv2.CV_32F, line, line, borderType=cv2.BORDER_REFLECT)
    mean: Plane = np.asarray(made, np.float32).reshape(plane.shape)
    return mean


def _denoised(plane: Plane, sigma: Plane) -> Plane:
    """Local Wiener estimate: towards the local mean, the more so the less the neighbourhood exceeds the noise."""
    mean = _box(plane, 3)
    variance = np.maximum(_box(plane * plane, 3) - mean * mean - sigma * sigma, 0)
    estimate: Plane = mean + variance / (variance + sigma * sigma + np.float32(1e-6)) * (plane - mean)
    return estimate


def _sampled(code: Plane, strength: float, steps: int, rng: np.random.Generator) -> Plane:
    """Bring a code back from noise, in falling steps.

    Noise of all steps together has about ``strength`` standard deviations of each channel, however many they are.
    """
    spread = np.float32(strength * np.sqrt(3 / steps)) * code.std(axis=(0, 1), keepdims=True)
    clean = code
    for k in range(steps):
        sigma = spread * np.float32(1 - k / steps)
        noisy = clean + sigma * rng.standard_normal(code.shape, np.float32)
        clean = _denoised(noisy, sigma)
    return clean


def _like(made: Plane, kept: Plane) -> Plane:
    """Give the resampled detail the local strength of the true one: denoising alone would leave a blur."""
    want, have = _box(kept * kept, 9), _box(made * made, 9)
    scaled: Plane = made * np.minimum(np.sqrt(want / (have + np.float32(1e-3))), np.float32(3))
    return scaled


def _invented(coarse: Plane, kept: Plane, doubling: Doubling, share: float, rng: np.random.Generator) -> Plane:
    """Finest detail that was never coded: noise and the coarse picture's own edges through the decoder's kernel."""
    noise = doubling(rng.standard_normal(coarse.shape, np.float32))
    noise = noise - _box(noise, 3)
    edges = doubling(coarse) - _box(doubling(coarse), 3)
    mix = np.float32(rng.uniform(0.2, 0.8))
    unit_noise = noise / (noise.std(axis=(0, 1), keepdims=True) + np.float32(1e-6))
    unit_edges = edges / (np.sqrt(_box(edges * edges, 9)) + np.float32(0.5))
    strength = np.sqrt(_box(kept * kept, 9))
    detail: Plane = np.float32(share) * strength * (mix * unit_edges + (1 - mix) * unit_noise)
    return detail
