"""Pictures drawn from scratch: schematic faces that a detector fires on, and textures."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def draw_face(side: int = 300) -> Image.Image:
    """Draw a smooth schematic face in an RGB square of ``side`` pixels on grey."""
    unit = side / 100
    image = Image.new("RGB", (side, side), (120, 130, 140))
    pen = ImageDraw.Draw(image)

    def oval(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        pen.ellipse([(x - rx) * unit, (y - ry) * unit, (x + rx) * unit, (y + ry) * unit], fill=colour)

    oval(50, 46, 36, 44, (60, 40, 30))
    oval(50, 55, 29, 38, (214, 168, 140))
    for x in (38, 62):
        oval(x, 48, 6.5, 3.5, (240, 235, 230))
        oval(x, 48, 3, 3.2, (50, 35, 25))
        pen.line([((x - 8) * unit, 41 * unit), ((x + 8) * unit, 41 * unit)], (60, 40, 30), max(int(2 * unit), 1))
    pen.polygon([(50 * unit, 50 * unit), (45 * unit, 66 * unit), (55 * unit, 66 * unit)], fill=(190, 140, 115))
    oval(50, 76, 11, 3.5, (170, 80, 80))
    return image.filter(ImageFilter.GaussianBlur(unit))


def scene(size: tuple[int, int], faces: list[tuple[int, int, int]], seed: int = 0, noise: float = 0.0) -> Image.Image:
    """Put drawn faces, each as (left, top, side), on a grey RGB picture of ``size``; optional Gaussian noise."""
    image = Image.new("RGB", size, (120, 130, 140))
    for left, top, side in faces:
        image.paste(draw_face(side), (left, top))
    if noise:
        levels = np.asarray(image, np.float64)
        levels += np.random.default_rng(seed).normal(0, noise, levels.shape)
        image = Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    return image


def texture(seed: int, side: int = 192) -> Image.Image:
    """Draw grey noise with a falling spectrum, like a photograph's."""
    rng = np.random.default_rng(seed)
    wave = np.fft.rfft2(rng.normal(size=(side, side)))
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    field = np.fft.irfft2(wave / np.maximum(radius, 1 / side) ** 1.2, s=(side, side))
    levels = 128 + 40 * (field - field.mean()) / field.std()
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
