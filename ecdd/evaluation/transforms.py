"""The transform suite: what a picture meets between a camera and a reader, the same bytes for the same picture."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ecdd.errors import EcddError
from ecdd.evaluation.field_pixels import FIELD_STEPS
from ecdd.files import read_yaml
from ecdd.pipeline.decode import decode

if TYPE_CHECKING:
    from PIL import Image

    from ecdd.contract.pixel_sections import PixelPipeline

SUITE_FILE: Final = Path(__file__).with_name("transforms.yaml")
FIELD_SUITE_FILE: Final = Path(__file__).with_name("field_transforms.yaml")
UNTOUCHED: Final = "untouched"
_NOTE: Final = b"release battery: metadata only"
_BORDER_LEVEL: Final = 240
_PNG_HEADER: Final = 33
_LEAST_SIDE: Final = 8


class TransformError(EcddError):
    """A suite that cannot be read, or a picture that a transform cannot be made of."""


@dataclass(frozen=True)
class Transform:
    """One transform.

    Attributes
    ----------
    name, group : str
        As in the suite.
    steps : tuple of mapping
        In their order.
    """

    name: str
    group: str
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Suite:
    """A versioned list of transforms; the first leaves every picture as it is."""

    version: int
    digest: str
    transforms: tuple[Transform, ...]

    def named(self, name: str) -> Transform:
        """The transform of that name."""
        for transform in self.transforms:
            if transform.name == name:
                return transform
        msg = f"transform {name!r} is not in the suite; known are {', '.join(t.name for t in self.transforms)}"
        raise TransformError(msg)


@cache
def load_suite(path: Path = SUITE_FILE) -> Suite:
    """Load and check a suite.

    Parameters
    ----------
    path : Path
        YAML with ``version`` and ``transforms``.

    Returns
    -------
    Suite
        In the order of the file.

    Raises
    ------
    TransformError
        It is no suite, a step is unknown, a picture is changed after it was saved, or never saved.
    """
    content, raw = path.read_bytes(), read_yaml(path)
    try:
        version = int(raw["version"])
        transforms = tuple(
            Transform(name, entry["group"], tuple(entry["steps"])) for name, entry in raw["transforms"].items()
        )
        for transform in transforms:
            _check(path.name, transform)
    except (KeyError, TypeError, AttributeError, ValueError, StopIteration) as error:
        msg = f"{path.name}: needs version and transforms, each with group and steps ({type(error).__name__}: {error})"
        raise TransformError(msg) from None
    if not transforms or transforms[0].name != UNTOUCHED or transforms[0].steps:
        msg = f"{path.name}: the first transform must be {UNTOUCHED!r} with no steps"
        raise TransformError(msg)
    return Suite(version, hashlib.sha256(content).hexdigest(), transforms)


def _check(where: str, transform: Transform) -> None:
    kinds = [next(iter(step)) for step in transform.steps]
    unknown = [kind for kind in kinds if kind not in (*_STEPS, "save", "flip", "note")]
    if unknown:
        msg = f"{where}: {transform.name}: step {unknown[0]!r} is unknown"
        raise TransformError(msg)
    ends = [kind for kind in kinds if kind in ("save", "flip", "note")]
    if kinds and (len(ends) != 1 or kinds[-1] not in ends):
        msg = f"{where}: {transform.name}: exactly one of save, flip, note, and it comes last"
        raise TransformError(msg)


def apply(transform: Transform, data: bytes, name: str, policy: PixelPipeline) -> tuple[bytes, str]:
    """Transform a file.

    Parameters
    ----------
    transform : Transform
        Of a suite.
    data : bytes
        The file's content.
    name : str
        Its name; the new one has the new container's suffix.
    policy : PixelPipeline
        How it is decoded: transforms begin at S1, upright and in sRGB.

    Returns
    -------
    tuple of (bytes, str)
        New content and name.

    Raises
    ------
    Rejected
        The picture cannot be decoded.
    TransformError
        The container has no place for a note.
    """
    if not transform.steps:
        return data, name
    end, stem = transform.steps[-1], Path(name).stem
    if "note" in end:
        return _with_note(data), name
    decoded = decode(data, policy, name=name)
    image = decoded.image
    for step in transform.steps[:-1]:
        kind, value = next(iter(step.items()))
        image = _STEPS[kind](image, value)
    if "flip" in end:  # without loss to PNG, nearly so to JPEG: only the container is meant to change
        to_png = decoded.format == "JPEG"
        return (_png(image), f"{stem}.png") if to_png else (_jpeg(image, 98, subsampling=0), f"{stem}.jpg")
    if end["save"] == "PNG":
        return _png(image), f"{stem}.png"
    return _jpeg(image, int(end["quality"]), subsampling=2), f"{stem}.jpg"


def _resized(image: Image.Image, factor: float) -> Image.Image:
    from PIL.Image import Resampling

    size = (max(_LEAST_SIDE, round(image.width * factor)), max(_LEAST_SIDE, round(image.height * factor)))
    return image.resize(size, Resampling.LANCZOS)


def _down_up(image: Image.Image, factor: float) -> Image.Image:
    from PIL.Image import Resampling

    return _resized(image, factor).resize(image.size, Resampling.BICUBIC)


def _blurred(image: Image.Image, radius: float) -> Image.Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(radius))


def _bordered(image: Image.Image, pixels: int) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.expand(image, pixels, (_BORDER_LEVEL,) * 3)


_STEPS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "resize": _resized,
    "down_up": _down_up,
    "blur": _blurred,
    "border": _bordered,
    **FIELD_STEPS,
}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)  # no file is kept: to compress it would take longer than to judge it
    return buffer.getvalue()


def _jpeg(image: Image.Image, quality: int, subsampling: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def _with_note(data: bytes) -> bytes:
    """The same file with a comment in it: not one coded pixel changes."""
    if data[:2] == b"\xff\xd8":
        at = 2
        while data[at : at + 1] == b"\xff" and 0xE0 <= data[at + 1] <= 0xEF:  # behind JFIF and EXIF, which come first
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        return data[:at] + b"\xff\xfe" + struct.pack(">H", len(_NOTE) + 2) + _NOTE + data[at:]
    if data[:4] == b"\x89PNG":
        body = b"tEXtComment\0" + _NOTE
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:_PNG_HEADER] + chunk + data[_PNG_HEADER:]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        msg = "a WebP file has no place for a comment; this transform speaks of JPEG and PNG"
        raise TransformError(msg)
    msg = "neither JPEG nor PNG: nothing to write a comment into"
    raise TransformError(msg)
