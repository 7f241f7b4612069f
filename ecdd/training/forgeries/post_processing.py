"""What happens to pictures on their way: JPEG, resizing, blur, noise, screenshots; drawn alike for real and fake.

A plan is drawn from a seed alone. It never sees a label, a source or a picture, so no class can get more of
anything. The operations are those of the transform suite (E6.3); their strengths reach a little beyond it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from PIL import Image, ImageFilter

from ecdd.pipeline.decode import decode

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import PixelPipeline
    from ecdd.training.forgeries.forgery import Picture

Kind = Literal["jpeg", "resize", "blur", "noise", "screenshot"]
KINDS: Final[tuple[Kind, ...]] = ("jpeg", "resize", "blur", "noise", "screenshot")
SHARES: Final = (0.4, 0.25, 0.1, 0.1, 0.15)
STEPS: Final = (0.3, 0.4, 0.2, 0.1)  # probability of 0, 1, 2, 3 steps
KERNELS: Final = ("box", "bilinear", "hamming", "bicubic", "lanczos")
JPEG_QUALITY: Final = (30, 95)
RESIZE_FACTOR: Final = (0.5, 0.95)
BLUR_RADIUS: Final = (0.3, 1.2)  # px
NOISE: Final = (0.5, 4.0)  # standard deviation, grey levels
SCREEN_FACTOR: Final = (0.6, 1.6)
SCREEN_GAMMA: Final = (0.92, 1.08)


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    strength : float
        JPEG quality; factor of size; radius in px; standard deviation in grey levels.
    kernel : str
        There and back, ``a>b``; ``4:4:4`` or ``4:2:0`` of a JPEG; empty where none is needed.
    seed : int
        Of noise.
    gamma : float
        Of a screenshot.
    """

    kind: Kind
    strength: float
    kernel: str = ""
    seed: int = 0
    gamma: float = 1.0


Plan = tuple[Step, ...]


def draw_plan(rng: np.random.Generator) -> Plan:
    """Draw up to three operations in a row.

    Parameters
    ----------
    rng : Generator
        The only input: give real and fake pictures generators from one stream.

    Returns
    -------
    tuple of Step
        Maybe empty.
    """
    count = int(rng.choice(len(STEPS), p=STEPS))
    return tuple(_draw_step(rng) for _ in range(count))


def _draw_step(rng: np.random.Generator) -> Step:
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    there, back = (KERNELS[int(k)] for k in rng.integers(len(KERNELS), size=2))
    chroma, seed = ("4:4:4", "4:2:0")[int(rng.integers(2))], int(rng.integers(2**31))
    unit = float(rng.uniform())
    if kind == "jpeg":
        return Step(kind, float(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1)), chroma)
    if kind == "resize":
        return Step(kind, _between(RESIZE_FACTOR, unit), f"{there}>{back}")
    if kind == "blur":
        return Step(kind, _between(BLUR_RADIUS, unit))
    if kind == "noise":
        return Step(kind, _between(NOISE, unit), seed=seed)
    gamma = float(rng.uniform(*SCREEN_GAMMA))
    return Step(kind, _between(SCREEN_FACTOR, unit), f"bilinear>{back}", gamma=gamma)


def _between(limits: tuple[float, float], unit: float) -> float:
    """A factor or strength at ``unit`` (0 … 1) of its range, in equal ratios."""
    return float(limits[0] * (limits[1] / limits[0]) ** unit)


def post_process(picture: Picture, plan: Plan, pixels: PixelPipeline) -> Picture:
    """Carry out a plan.

    Parameters
    ----------
    picture : ndarray of uint8, (H, W, 3)
        RGB.
    plan : tuple of Step
        From `draw_plan`.
    pixels : PixelPipeline
        JPEGs are decoded by the canonical decoder.

    Returns
    -------
    ndarray of uint8, (H, W, 3)
        Of the same size, so that a mask keeps its place; the picture itself where the plan is empty.
    """
    for step in plan:
        picture = _carried_out(picture, step, pixels)
    return picture


def _carried_out(picture: Picture, step: Step, pixels: PixelPipeline) -> Picture:
    image = Image.fromarray(picture)
    if step.kind == "jpeg":
        stored = io.BytesIO()
        image.save(stored, "JPEG", quality=int(step.strength), subsampling=step.kernel)
        return np.asarray(decode(stored.getvalue(), pixels).image)
    if step.kind == "blur":
        return np.asarray(image.filter(ImageFilter.GaussianBlur(step.strength)))
    if step.kind == "noise":
        noise = np.random.default_rng(step.seed).normal(0.0, step.strength, picture.shape)
        return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    there, back = (Image.Resampling[name.upper()] for name in step.kernel.split(">"))
    size = (max(round(image.width * step.strength), 1), max(round(image.height * step.strength), 1))
    changed = image.resize(size, there)
    if step.kind == "screenshot":
        levels = np.rint(255 * (np.arange(256) / 255) ** step.gamma).astype(int).tolist()
        changed = changed.point(levels * 3)
    return np.asarray(changed.resize(image.size, back))
