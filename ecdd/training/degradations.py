"""What fields do to faces before a detector sees them, drawn without looking at the label.

A face is cut with a jittered box, reduced by a drawn kernel, changed (tone, colour, blur, noise, depth), sent through
a chain of codecs, and resized to S3 by the contract's one resize: the same distribution of size, codec and colour for
both classes, so that none of these says anything about the class.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageFilter

from ecdd.pipeline.decode import decode
from ecdd.pipeline.preprocess import CropBox, resize
from ecdd.training.harmonise import KERNELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.pixel_sections import PixelPipeline
    from ecdd.training.config import DegradationRanges

    Picture = NDArray[np.uint8]

LEAST_REDUCTION: Final = 0.96
JITTER: Final = 0.05  # of the crop side: shift of the centre, either way
ZOOM: Final = (0.9, 1.1)
BT601: Final = (0.299, 0.114)  # luma weights of red and blue
BT709: Final = (0.2126, 0.0722)
MEASURED_QUALITY: Final = (60, 95)
STRONG_CONTRAST: Final = (1.4, 3.0)
CONTRAST_PIVOT: Final = (100.0, 155.0)  # the level that stays
GRID: Final = 8  # px of a codec's block: the face begins at a drawn place of it


def degrade(
    picture: Picture, crop: CropBox, pixels: PixelPipeline, ranges: DegradationRanges, rng: np.random.Generator
) -> Picture:
    """Make S3 of a face as it might arrive.

    Parameters
    ----------
    picture : ndarray, uint8, shape (H, W, 3)
        A face with its surroundings.
    crop : CropBox
        The face crop in it.
    pixels : PixelPipeline
        Size and kernel of S3.
    ranges : DegradationRanges
        Strengths and probabilities.
    rng : Generator
        The only source of differences: twins are given equal generators.

    Returns
    -------
    ndarray, uint8, shape (S, S, 3)
        S3.
    """
    image = Image.fromarray(picture)
    box = _jittered(crop, image.size, rng)
    mirrored = rng.random() < 0.5
    if rng.random() < ranges.as_it_is:
        s3 = resize(image.crop(box), pixels)
        return np.ascontiguousarray(s3[:, ::-1]) if mirrored else s3
    small, offset = _reduced(image, box, ranges.side, rng)
    if mirrored:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        offset = (0, offset[1])
    changed = _changed(small, ranges, rng)
    sent = _sent(changed, ranges, pixels, rng)
    side = min(sent.width - offset[0], sent.height - offset[1])
    return resize(sent.crop((offset[0], offset[1], offset[0] + side, offset[1] + side)), pixels)


def harmonise(
    picture: Picture, crop: CropBox, pixels: PixelPipeline, side: tuple[int, int], rng: np.random.Generator
) -> Picture:
    """Make S3 of a face for measuring: reduced to a drawn side and encoded once as JPEG, whatever it was.

    Parameters
    ----------
    picture : ndarray, uint8, shape (H, W, 3)
        A face with its surroundings.
    crop : CropBox
        The face crop in it; its side must be above ``side[1]``.
    pixels : PixelPipeline
        Size and kernel of S3.
    side : tuple of int
        Range of the reduced side, px.
    rng : Generator
        Draws side, kernel, quality and subsampling.

    Returns
    -------
    ndarray, uint8, shape (S, S, 3)
        S3.
    """
    small, offset = _reduced(Image.fromarray(picture), crop, side, rng)
    sent = _encoded(small, "JPEG", MEASURED_QUALITY, pixels, rng)
    inner = min(sent.width - offset[0], sent.height - offset[1])
    return resize(sent.crop((offset[0], offset[1], offset[0] + inner, offset[1] + inner)), pixels)


def _jittered(crop: CropBox, size: tuple[int, int], rng: np.random.Generator) -> CropBox:
    full = crop.x1 - crop.x0
    shift_x, shift_y = rng.uniform(-JITTER, JITTER, 2) * full
    side = max(min(round(full * float(rng.uniform(*ZOOM))), *size), 16)
    x = (crop.x0 + crop.x1 - side) / 2 + shift_x
    y = (crop.y0 + crop.y1 - side) / 2 + shift_y
    x0, y0 = (round(min(max(value, 0), most - side)) for value, most in ((x, size[0]), (y, size[1])))
    return CropBox(x0, y0, x0 + side, y0 + side)


def _reduced(
    image: Image.Image, box: CropBox, sides: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int]]:
    """Reduce a box with up to `GRID` px above and left of it, so that a codec's grid begins anywhere."""
    side = box.x1 - box.x0
    low, high = sides
    target = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    shrink = float(rng.uniform(0.8, LEAST_REDUCTION))
    factor = min(target / side, shrink)
    kernel = Image.Resampling[KERNELS[int(rng.integers(len(KERNELS)))].upper()]
    wanted = rng.integers(GRID, size=2)
    left, top = (min(round(int(w) / factor), room) for w, room in zip(wanted, (box.x0, box.y0), strict=True))
    part = image.crop((box.x0 - left, box.y0 - top, box.x1, box.y1))
    small = part.resize((max(round(part.width * factor), 16), max(round(part.height * factor), 16)), kernel)
    return small, (round(left * factor), round(top * factor))


def _changed(image: Image.Image, ranges: DegradationRanges, rng: np.random.Generator) -> Image.Image:
    chances = dict(
        zip(("tone", "tint", "grey", "video", "blur", "sharpen", "noise", "depth"), rng.random(8), strict=True)
    )
    if chances["blur"] < ranges.blur:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.4))))
    elif chances["sharpen"] < ranges.sharpen:
        image = image.filter(ImageFilter.UnsharpMask(float(rng.uniform(0.6, 2.0)), int(rng.integers(30, 160)), 0))
    if chances["tone"] > 1 - ranges.strong_contrast:
        pivot, factor = float(rng.uniform(*CONTRAST_PIVOT)), float(rng.uniform(*STRONG_CONTRAST))
        image = image.point(
            np.clip(np.rint((np.arange(256) - pivot) * factor + pivot), 0, 255).astype(int).tolist() * 3
        )
    elif chances["tone"] < ranges.tone:
        image = image.point(_tone_curve(rng).tolist() * 3)
    if chances["tint"] < ranges.tint:
        tables = [np.clip(np.arange(256) * gain, 0, 255).round().astype(int) for gain in rng.uniform(0.88, 1.12, 3)]
        image = image.point(np.concatenate(tables).tolist())
    if chances["video"] < ranges.video_range:
        image = _misread(image, rng)
    if chances["grey"] < ranges.grey:
        image = image.convert("L").convert("RGB")
    if chances["noise"] < ranges.noise:
        image = _noisy(image, rng)
    if chances["depth"] < ranges.depth:
        image = Image.fromarray(np.asarray(image) & np.array([0xF8, 0xFC, 0xF8], np.uint8))  # RGB565
    return image


def _tone_curve(rng: np.random.Generator) -> NDArray[np.int64]:
    gamma, contrast = float(np.exp(rng.uniform(-0.45, 0.45))), float(rng.uniform(0.7, 1.35))
    shift = float(rng.uniform(-0.08, 0.08))
    unit = (np.arange(256) / 255) ** gamma
    curve: NDArray[np.int64] = np.clip(np.rint(255 * ((unit - 0.5) * contrast + 0.5 + shift)), 0, 255).astype(np.int64)
    return curve


def _misread(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Video range shown as full range, or back, or BT.709 read as BT.601."""
    levels = np.asarray(image).astype(np.float32)
    kind = int(rng.integers(3))
    if kind == 0:
        levels = 16 + levels * (219 / 255)
    elif kind == 1:
        levels = (levels - 16) * (255 / 219)
    else:
        levels = levels @ (np.linalg.inv(_luma_chroma(*BT709)) @ _luma_chroma(*BT601)).T.astype(np.float32)
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _luma_chroma(red: float, blue: float) -> NDArray[np.float64]:
    """Matrix from RGB to Y, Cb, Cr for the luma weights of red and blue."""
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack(
        [luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))]
    )


def _noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    strength, channels = float(np.exp(rng.uniform(np.log(0.8), np.log(9.0)))), int(rng.choice((1, 3)))
    noise = rng.standard_normal((image.height, image.width, channels), np.float32) * np.float32(strength)
    return Image.fromarray(np.clip(np.rint(np.asarray(image) + noise), 0, 255).astype(np.uint8))


def _sent(
    image: Image.Image, ranges: DegradationRanges, pixels: PixelPipeline, rng: np.random.Generator
) -> Image.Image:
    """Screenshots and messengers resize to another size and back, so that the face keeps its place."""
    shot, chain, kind = rng.random(3)
    size = image.size
    if shot < ranges.screenshot:
        image = _resized(image, float(rng.uniform(0.6, 1.6)), rng)
        image = image.resize(size, Image.Resampling[KERNELS[int(rng.integers(len(KERNELS)))].upper()])
    webp = kind < ranges.webp_share
    sent = _encoded(image, "WEBP" if webp else "JPEG", ranges.webp if webp else ranges.jpeg, pixels, rng)
    if chain < ranges.chain:
        if rng.random() < 0.5:
            small = _resized(sent, float(rng.uniform(0.6, 0.95)), rng)
            sent = _encoded(small, "JPEG", ranges.jpeg, pixels, rng).resize(size, Image.Resampling.BICUBIC)
        else:
            sent = _encoded(sent, "JPEG", ranges.jpeg, pixels, rng)
    return sent


def _resized(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    kernel = Image.Resampling[KERNELS[int(rng.integers(len(KERNELS)))].upper()]
    return image.resize((max(round(image.width * factor), 16), max(round(image.height * factor), 16)), kernel)


def _encoded(
    image: Image.Image, kind: str, quality: tuple[int, int], pixels: PixelPipeline, rng: np.random.Generator
) -> Image.Image:
    buffer = io.BytesIO()
    level, chroma = int(rng.integers(quality[0], quality[1] + 1)), ("4:4:4", "4:2:0", "4:2:0")[int(rng.integers(3))]
    if kind == "WEBP":
        image.save(buffer, "WEBP", quality=level, method=0)
    else:
        image.save(buffer, "JPEG", quality=level, subsampling=chroma)
    return decode(buffer.getvalue(), pixels).image
