"""What a picture may be given as: a path, the bytes of a file, an open file, or pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from ecdd.pipeline.decode import read_file
from ecdd.pipeline.given_pixels import check_pixels
from ecdd.pipeline.reason_codes import ReasonCode, Rejected

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import PixelPipeline

_PIXEL_AXES = 3


@dataclass(frozen=True)
class Named:
    """Bytes of a file that has no path here, and its name."""

    data: bytes
    name: str


Pixels: TypeAlias = "Image.Image | np.ndarray[Any, Any]"
Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Named | Pixels"


def checked(source: Picture) -> Picture:
    """Refuse what is no picture by its type, and make the rest one of fewer types.

    Parameters
    ----------
    source : Picture
        Anything.

    Returns
    -------
    Path, bytes, Named, Image, ndarray or binary file
        The same picture.

    Raises
    ------
    TypeError
        Another type, a file opened as text, or pixels of another dtype or shape.
    """
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Image.Image | np.ndarray):
        check_pixels(source)
        return source
    if isinstance(source, io.TextIOBase):
        raise TypeError("the file was opened as text; open it with mode 'rb'")
    if isinstance(source, Named) or callable(getattr(source, "read", None)):
        return source
    raise TypeError(
        "a picture is a path, bytes, a binary file, an image of Pillow or an array, not " + type(source).__name__
    )


def read_source(source: Picture, policy: PixelPipeline) -> bytes | Pixels:
    """The bytes of a file, but not of one that is too large, or pixels as they are.

    Raises
    ------
    Rejected
        ``IO-010`` or ``IO-003``, as for `ecdd.pipeline.decode.read_file`.
    TypeError
        A file gives something else than bytes.
    """
    if isinstance(source, Image.Image | np.ndarray):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Named):
        return source.data
    if isinstance(source, str | os.PathLike):
        return read_file(source, policy)
    parts, left = [], policy.max_bytes + 1
    try:
        while left > 0 and (part := source.read(left)):
            parts.append(part)
            left -= len(part)
    except (OSError, ValueError) as error:
        raise Rejected((ReasonCode.UNREADABLE,), f"cannot be read: {type(error).__name__}") from error
    return b"".join(parts)


def path_of(source: Picture) -> str:
    """What a verdict calls a picture: its path or name, or nothing."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    name = None if isinstance(source, Image.Image) else getattr(source, "name", None)
    return name if isinstance(name, str) else ""


def portable(source: Picture, policy: PixelPipeline) -> Picture:
    """The same picture, so that another process can have it; open files and images are read here.

    Raises
    ------
    Rejected, TypeError
        As for `checked` and `read_source`, and where Pillow cannot read the rest of an image.
    """
    source = checked(source)
    if isinstance(source, Image.Image):
        try:
            source.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise Rejected((ReasonCode.CORRUPT_FILE,), f"the image cannot be read: {error}"[:300]) from error
        return source
    if isinstance(source, Path | bytes | Named | np.ndarray):
        return source
    content = read_source(source, policy)
    assert isinstance(content, bytes)
    return Named(content, path_of(source))


def refuse_single(sources: Iterable[Picture]) -> None:
    """Refuse one picture where many are asked for.

    Raises
    ------
    TypeError
        One picture, or nothing that can be gone through.
    """
    single = isinstance(sources, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | Named | io.IOBase)
    if single or (isinstance(sources, np.ndarray) and sources.ndim <= _PIXEL_AXES):
        raise TypeError(f"many pictures are needed, this is one {type(sources).__name__}; put it into a list")
    if not isinstance(sources, Iterable):
        raise TypeError(f"many pictures are needed, not {type(sources).__name__}")
