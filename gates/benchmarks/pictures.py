"""Pictures for the benchmarks: one golden portrait scaled onto canvases of stated sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from PIL import Image

SIZES: Final = {"512x512": (512, 512), "1920x1080": (1920, 1080), "4000x3000": (4000, 3000)}
_PORTRAIT: Final = "real_obama_2012"


def golden_portrait(golden: Any) -> Path:
    """A real golden picture, head and shoulders, large enough that no canvas is filled by much enlargement."""
    return golden.file(golden.item(_PORTRAIT))  # type: ignore[no-any-return]


def write_picture(portrait: Path, size: tuple[int, int], path: Path) -> Path:
    """Write the portrait, scaled to the height of the canvas, as a JPEG of quality 92 and 4:2:0 chroma.

    Parameters
    ----------
    portrait : Path
        A golden picture with one face.
    size : tuple of int
        Width and height of the canvas in pixels.
    path : Path
        Where to write.

    Returns
    -------
    Path
        ``path``.
    """
    with Image.open(portrait) as opened:
        picture = opened.convert("RGB")
    scale = min(size[0] / picture.width, size[1] / picture.height)
    scaled = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    canvas = Image.linear_gradient("L").resize(size).convert("RGB")
    canvas.paste(scaled, ((size[0] - scaled.width) // 2, size[1] - scaled.height))
    canvas.save(path, quality=92, subsampling=2)
    return path
