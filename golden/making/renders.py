"""Rendered pictures (CGI): solids and heads drawn by marching rays through distance fields, and a landscape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]
Field = Callable[[Array], Array]


def _march(field: Field, size: tuple[int, int], steps: int = 48) -> tuple[Array, NDArray[np.bool_]]:
    """Points where orthographic rays along +z meet the field's surface, and which rays do. x, y in -1.2 … 1.2."""
    width, height = size
    x, y = np.meshgrid(np.linspace(-1.2, 1.2, width) * width / height, np.linspace(-1.2, 1.2, height))
    points = np.stack([x, y, np.full_like(x, -1.4)], axis=-1).reshape(-1, 3)
    active = np.arange(len(points))
    hit = np.zeros(len(points), dtype=bool)
    for _ in range(steps):
        distance = field(points[active])
        points[active, 2] += 0.8 * distance
        hit[active[distance < 0.003]] = True
        active = active[(distance >= 0.003) & (points[active, 2] < 1.4)]
    return points, hit


def _normals(field: Field, points: Array) -> Array:
    step = 1e-3
    gradient = np.stack([field(points + step * axis) - field(points - step * axis) for axis in np.eye(3)], axis=-1)
    normals: Array = gradient / np.maximum(np.linalg.norm(gradient, axis=-1, keepdims=True), 1e-9)
    return normals


def _sphere(points: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Ellipsoid, a usable lower bound of its distance."""
    scaled = (points - np.array(centre)) / np.array(radii)
    distance: Array = (np.linalg.norm(scaled, axis=-1) - 1.0) * min(radii)
    return distance


def _join(first: Array, second: Array, softness: float) -> Array:
    """Smooth union."""
    share = np.clip(0.5 + 0.5 * (second - first) / softness, 0, 1)
    return second * (1 - share) + first * share - softness * share * (1 - share)


def _carve(first: Array, second: Array, softness: float) -> Array:
    """Smooth difference: the first less the second."""
    return -_join(-first, second, softness)


def _head(points: Array) -> Array:
    """A bust: skull, jaw, nose, sunken eyes, lips, neck, shoulders."""
    solid = _join(
        _sphere(points, (0, -0.2, 0.1), (0.6, 0.68, 0.66)), _sphere(points, (0, 0.24, -0.02), (0.42, 0.5, 0.5)), 0.18
    )
    solid = _join(solid, _sphere(points, (0, 0.08, -0.6), (0.09, 0.22, 0.16)), 0.1)
    for side in (-1, 1):
        solid = _carve(solid, _sphere(points, (0.24 * side, -0.1, -0.62), (0.16, 0.09, 0.16)), 0.08)
        solid = _join(solid, _sphere(points, (0.24 * side, -0.1, -0.4), (0.1, 0.08, 0.1)), 0.02)
        solid = _join(solid, _sphere(points, (0.24 * side, -0.24, -0.5), (0.2, 0.04, 0.1)), 0.08)
        solid = _join(solid, _sphere(points, (0.62 * side, 0.0, 0.1), (0.07, 0.18, 0.12)), 0.04)
    solid = _carve(solid, _sphere(points, (0, 0.42, -0.56), (0.2, 0.018, 0.12)), 0.04)
    solid = _join(solid, _sphere(points, (0, 0.37, -0.42), (0.16, 0.04, 0.1)), 0.06)
    solid = _join(solid, _sphere(points, (0, 0.47, -0.4), (0.14, 0.04, 0.1)), 0.06)
    solid = _join(solid, _sphere(points, (0, 0.9, 0.2), (0.3, 0.5, 0.3)), 0.1)
    return _join(solid, _sphere(points, (0, 1.55, 0.3), (1.1, 0.5, 0.5)), 0.2)


def _shaded(
    field: Field, size: tuple[int, int], base: Array, light: Array, backdrop: Array, shine: float
) -> Image.Image:
    points, hit = _march(field, size)
    normals = _normals(field, points[hit])
    light = light / np.linalg.norm(light)
    lit = np.clip(normals @ -light, 0, 1)[..., None]
    half = light + np.array([0.0, 0.0, 1.0])
    gloss = np.clip(normals @ -(half / np.linalg.norm(half)), 0, 1)[..., None] ** 40 * shine
    picture = np.array(backdrop).reshape(-1, 3)
    picture[hit] = base.reshape(-1, 3)[hit] * (0.18 + 0.82 * lit) + 255 * gloss
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8).reshape(size[1], size[0], 3))


def _backdrop(size: tuple[int, int], top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Array:
    share = np.linspace(0, 1, size[1])[:, None, None]
    return np.broadcast_to(np.array(top) * (1 - share) + np.array(bottom) * share, (size[1], size[0], 3))


def marble_bust(seed: int) -> Image.Image:
    """A head of veined stone, 560 x 640."""
    rng = np.random.default_rng(seed)
    size = (560, 640)
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    wave = sum(
        float(rng.normal()) * np.sin(2 * np.pi * (rng.normal(0, k) * x + rng.normal(0, k) * y) + rng.uniform(0, 6))
        for k in (1, 2, 3, 5, 8)
    )
    veins = 1 - 0.25 * np.exp(-8 * np.abs(np.sin(3 * x + 2 * np.asarray(wave))))
    base = np.array([225.0, 220.0, 210.0]) * veins[..., None]
    return _shaded(_head, size, base, np.array([0.5, 0.7, 1.0]), _backdrop(size, (70, 80, 95), (30, 34, 42)), 0.1)


def plastic_head(seed: int) -> Image.Image:
    """A glossy blue mannequin, 640 x 480."""
    del seed
    size = (640, 480)
    base = np.broadcast_to(np.array([60.0, 120.0, 215.0]), (size[1], size[0], 3))
    return _shaded(
        _head, size, base, np.array([-0.6, 0.5, 1.0]), _backdrop(size, (250, 220, 190), (200, 150, 120)), 0.6
    )


def solids(seed: int) -> Image.Image:
    """Balls of several colours, 720 x 480."""
    rng = np.random.default_rng(seed)
    balls = [
        (tuple(rng.uniform(-0.9, 0.9, 3)), float(rng.uniform(0.15, 0.4)), rng.uniform(40, 255, 3)) for _ in range(9)
    ]
    size = (720, 480)

    def field(points: Array) -> Array:
        distances: Array = np.min([_sphere(points, centre, (r, r, r)) for centre, r, _ in balls], axis=0)
        return distances

    points, _ = _march(field, size)
    nearest = np.argmin([_sphere(points, centre, (r, r, r)) for centre, r, _ in balls], axis=0)
    base = np.array([colour for _, _, colour in balls])[nearest]
    return _shaded(field, size, base, np.array([0.4, 0.8, 0.9]), _backdrop(size, (25, 25, 35), (90, 80, 100)), 0.8)


def mountains(seed: int) -> Image.Image:
    """Ridges in haze under a low sun, 960 x 540."""
    rng = np.random.default_rng(seed)
    width, height = 960, 540
    picture = np.array(_backdrop((width, height), (70, 110, 180), (250, 190, 130)))
    x, y = np.arange(width), np.arange(height)[:, None]
    sun = np.hypot(x - 700, y - 250)
    picture += (255 - picture) * np.exp(-((sun / 60) ** 2))[..., None]
    for layer in range(6):
        ridge: Array = np.full(width, 210.0 + 55 * layer)
        for octave in range(1, 8):
            ridge = ridge + rng.normal(0, 40 / octave**1.4) * np.sin(
                2 * np.pi * octave * x / width * rng.uniform(0.7, 1.4) + rng.uniform(0, 6.3)
            )
        ridge = ridge + rng.normal(0, 1.2, width).cumsum() * 0.3
        share = layer / 5
        colour = np.array([150.0, 130, 150]) * (1 - share) + np.array([24.0, 44, 30]) * share
        picture = np.where((y > ridge)[..., None], colour + rng.normal(0, 4, (height, width, 1)), picture)
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
