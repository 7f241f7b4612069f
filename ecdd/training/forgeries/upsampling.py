"""Up-sampling by two as generators do it, and forgeries that consist of its traces.

Every image generator ends with steps that double the size: nearest neighbour and a convolution, bilinear and a
convolution, or a transposed convolution. Each writes a pattern of period two (four, eight after the next steps)
that a receptive field of nine pixels can read. Kernels are drawn anew for every forgery, so that no single pattern
is learnt. These are traces alone, written over real pictures: no network invents anything here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ecdd.training.forgeries.forged_region import draw_region, window_of
from ecdd.training.forgeries.forgery import FacePicture, Forgery, blend

NAME: Final = "upsampling"
KINDS: Final = ("nearest", "bilinear", "bicubic", "nearest_convolved", "transposed")
TAPS: Final = 5  # inputs a side that one output pixel reads
TWICE_FROM: Final = 200  # px, side of the face: a smaller one halved twice is a blot of twenty pixels

Plane = NDArray[np.float32]  # (H, W, C), grey levels


@dataclass(frozen=True, eq=False)
class Doubling:
    """One drawn way to double a picture.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    weights : ndarray of float64, (2, 2, 5, 5)
        ``weights[a, b]`` makes output pixels (2i + a, 2j + b) from inputs (i - 2 … i + 2, j - 2 … j + 2).
    """

    kind: str
    weights: NDArray[np.float64]

    def __call__(self, plane: Plane) -> Plane:
        """Double a picture (H, W, C) float32 to (2H, 2W, C); the border is mirrored."""
        out = np.empty((2 * plane.shape[0], 2 * plane.shape[1], plane.shape[2]), np.float32)
        for a in range(2):
            for b in range(2):
                made = cv2.filter2D(plane, cv2.CV_32F, self.weights[a, b], borderType=cv2.BORDER_REFLECT)
                out[a::2, b::2] = made.reshape(plane.shape)
        return out


def draw_doubling(rng: np.random.Generator, kind: str | None = None) -> Doubling:
    """Draw a kernel.

    Parameters
    ----------
    rng : Generator
        Decides kind and, for the learnt kinds, the weights.
    kind : str, optional
        This kind.
    """
    kind = str(rng.choice(KINDS)) if kind is None else kind
    if kind in ("nearest", "bilinear", "bicubic"):
        line = _line(kind)
        return Doubling(kind, np.einsum("au,bv->abuv", line, line))
    if kind == "nearest_convolved":
        return Doubling(kind, _convolved_nearest(rng))
    # a transposed convolution, 4 x 4 with stride 2: bilinear weights, each with an error of its own
    line = _line("bilinear")
    weights = np.einsum("au,bv->abuv", line, line)
    weights = weights * (1 + rng.normal(0.0, rng.uniform(0.05, 0.3), weights.shape))
    return Doubling(kind, _levelled(weights, rng))


def _line(kind: str) -> NDArray[np.float64]:
    """Weights along one axis, (2, 5): both outputs of an input lie a quarter of a pixel beside it."""
    if kind == "nearest":
        return np.array([[0, 0, 1, 0, 0], [0, 0, 1, 0, 0]], np.float64)
    if kind == "bilinear":
        return np.array([[0, 0.25, 0.75, 0, 0], [0, 0, 0.75, 0.25, 0]], np.float64)
    offsets = np.arange(-2, 3, dtype=np.float64)
    return np.stack([_cubic(offsets + 0.25), _cubic(offsets - 0.25)])


def _cubic(x: NDArray[np.float64], a: float = -0.75) -> NDArray[np.float64]:
    """Cubic convolution kernel; a = -0.75 is what the common tensor libraries use."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _convolved_nearest(rng: np.random.Generator) -> NDArray[np.float64]:
    """Nearest neighbour, then a drawn 3 x 3 convolution of the doubled picture, written as one kernel."""
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    kernel = kernel + rng.normal(0.0, rng.uniform(0.02, 0.08), (3, 3))
    weights = np.zeros((2, 2, TAPS, TAPS))
    for a, b, u, v in np.ndindex(2, 2, 3, 3):
        weights[a, b, 2 + (a + u - 1) // 2, 2 + (b + v - 1) // 2] += kernel[u, v]
    return _levelled(weights, rng)


def _levelled(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bring the four phases to sums near 1: what is left between them is the checkerboard."""
    sums = 1 + rng.normal(0.0, rng.uniform(0.001, 0.012), (2, 2))
    scaled: NDArray[np.float64] = weights / weights.sum(axis=(2, 3), keepdims=True) * sums[:, :, None, None]
    return scaled


def halved(plane: Plane, kernel: tuple[float, ...] = (1, 3, 3, 1)) -> Plane:
    """Halve a picture of even sides, (H, W, C) float32, with a symmetric kernel of even length."""
    line = np.array(kernel, np.float64) / sum(kernel)
    # with the anchor left of the middle, pixel 2i reads 2i - 1 … 2i + 2 for four taps: centred between 2i and 2i + 1
    anchor = (len(kernel) - 1) // 2
    soft = cv2.sepFilter2D(plane, cv2.CV_32F, line, line, anchor=(anchor, anchor), borderType=cv2.BORDER_REFLECT)
    return np.ascontiguousarray(soft.reshape(plane.shape)[::2, ::2])


def padded_to(plane: Plane, multiple: int) -> Plane:
    """Mirror the right and lower border until both sides are multiples."""
    rows, columns = (-length % multiple for length in plane.shape[:2])
    # "symmetric" repeats the last row, as the border of every kernel here does
    return np.pad(plane, ((0, rows), (0, columns), (0, 0)), mode="symmetric")


def leave_upsampling_traces(source: FacePicture, seed: int) -> Forgery:
    """Halve a part of a picture once or twice, double it back with drawn kernels, and give detail back.

    Parameters
    ----------
    source : FacePicture
        A real face.
    seed : int
        Decides place, kernels, steps and sharpness.

    Returns
    -------
    Forgery
        Pixels outside the mask are those of the source, bit for bit.
    """
    rng = np.random.default_rng(seed)
    mask, region = draw_region(source, rng)
    x0, y0, x1, y1 = window_of(mask, 4, 8)
    part = source.picture[y0:y1, x0:x1].astype(np.float32)
    steps = 2 if source.face.side >= TWICE_FROM and rng.uniform() < 0.4 else 1
    # no generator repeats pixels without a convolution behind them, but at its very end
    doublings = [draw_doubling(rng, str(rng.choice(KINDS[1:]))) for _ in range(steps - 1)]
    doublings.append(draw_doubling(rng))
    plane = padded_to(part, 4)
    narrow = ((1.0, 1.0), (1.0, 3.0, 3.0, 1.0))[int(rng.integers(2))]
    small = plane
    for _ in range(steps):
        small = halved(small, narrow)
    for doubling in doublings:
        small = doubling(small)
    # real detail given back, through a period of its own: generators are not blurred
    share = float(rng.uniform(0.2, 0.8))
    gains = np.clip(1 + rng.normal(0.0, rng.uniform(0.0, 0.25), (2, 2)), 0.5, 1.5)
    detail = (plane - cv2.GaussianBlur(plane, (0, 0), 1.2 * steps)) * np.float32(share)
    tiled = np.tile(gains.astype(np.float32), (plane.shape[0] // 2, plane.shape[1] // 2))[:, :, None]
    amount = float(rng.uniform(0.2, 1.0))
    small = small + np.float32(amount) * (small - cv2.GaussianBlur(small, (0, 0), 1.0 * steps))
    made = source.picture.astype(np.float64)
    made[y0:y1, x0:x1] = (small + detail * tiled)[: part.shape[0], : part.shape[1]]
    parameters: dict[str, float | int | str] = {
        "region": region,
        "kernels": "+".join(doubling.kind for doubling in doublings),
        "detail": round(share, 3),
        "sharpening": round(amount, 3),
        "phase_gains": " ".join(f"{gain:.3f}" for gain in gains.ravel()),
    }
    return Forgery(blend(source.picture, made, mask), mask, NAME, parameters)
