"""The page's resampling against Pillow's, in a browser: every kernel, reduction by blocks, affine maps, crops."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ecdd.web.building import STATIC
from gates.support.browser import browser_path, open_browser

ORIGIN = "http://localhost"
SIZES = [((640, 480), (256, 256)), ((61, 97), (256, 256)), ((256, 256), (256, 256)), ((301, 200), (192, 127))]
SHRINK = [(2, 2), (3, 5), (7, 1), (64, 64)]
Levels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page without a network that can import the script."""
    with open_browser(browser_path()) as browser:
        opened = browser.new_page()

        def answer(route: Any) -> None:
            name = route.request.url.removeprefix(f"{ORIGIN}/")
            if name == "resize.js":
                route.fulfill(body=(STATIC / name).read_bytes(), content_type="text/javascript")
            else:
                route.fulfill(body="<!doctype html>", content_type="text/html")

        opened.route("**/*", answer)
        opened.goto(f"{ORIGIN}/")
        yield opened


def _made(page: Any, levels: Levels, call: str) -> Levels:
    """What an expression in ``p`` (the picture) and ``m`` (the module) gives."""
    script = (
        "async ([data, width, height]) => { const m = await import('http://localhost/resize.js');"
        "const p = {width, height, data: Uint8Array.from(atob(data), (c) => c.charCodeAt(0))};"
        f"const r = {call}; let text = ''; for (const v of r.data) text += String.fromCharCode(v);"
        "return [btoa(text), r.width, r.height]; }"
    )
    height, width = levels.shape[:2]
    data, w, h = page.evaluate(script, [base64.b64encode(levels.tobytes()).decode(), width, height])
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(h, w, 3)


def _noise(width: int, height: int) -> Levels:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "box"])
def test_resize_is_pillow_s_to_the_level(page: Any, kernel: str) -> None:
    for (width, height), (w, h) in SIZES:
        levels = _noise(width, height)
        wanted = np.asarray(Image.fromarray(levels).resize((w, h), Image.Resampling[kernel.upper()]))
        assert np.array_equal(_made(page, levels, f"m.resize(p, {w}, {h}, '{kernel}')"), wanted), (width, height)


def test_a_box_of_fractions_is_pillow_s(page: Any) -> None:
    levels, box = _noise(101, 67), (0.0, 0.0, 301 / 3, 200 / 3)
    wanted = np.asarray(Image.fromarray(levels).resize((96, 64), Image.Resampling.BILINEAR, box=box))
    assert np.array_equal(_made(page, levels, f"m.resize(p, 96, 64, 'bilinear', {list(box)})"), wanted)


@pytest.mark.parametrize(("fx", "fy"), SHRINK)
def test_blocks_are_reduced_as_by_pillow(page: Any, fx: int, fy: int) -> None:
    levels = _noise(203, 151)
    wanted = np.asarray(Image.fromarray(levels).reduce((fx, fy)))
    assert np.array_equal(_made(page, levels, f"m.reduce(p, {fx}, {fy})"), wanted)


def test_an_affine_map_is_pillow_s(page: Any) -> None:
    levels, matrix = _noise(120, 90), (0.61, -0.33, 21.4, 0.33, 0.61, -9.7)
    wanted = np.asarray(
        Image.fromarray(levels).transform((192, 192), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    )
    assert np.array_equal(_made(page, levels, f"m.affine(p, 192, {list(matrix)})"), wanted)


def test_a_crop_beyond_the_edge_is_black(page: Any) -> None:
    levels, box = _noise(50, 40), (-7, 12, 60, 55)
    wanted = np.asarray(Image.fromarray(levels).crop(box))
    assert np.array_equal(_made(page, levels, f"m.cut(p, {list(box)})"), wanted)
