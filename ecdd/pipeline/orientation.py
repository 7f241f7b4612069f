"""EXIF orientation: reading the tag, turning a picture upright, and mapping points back."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from PIL import Image

# What turns a stored picture upright, by the value of the EXIF tag (Exif 2.32, tag 0x0112).
TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TAG: Final = 0x0112
_SHORT: Final = 3


def read_orientation(exif: bytes | None) -> tuple[int, bool]:
    r"""Read the orientation tag of the first image directory.

    Parameters
    ----------
    exif : bytes or None
        EXIF block, with or without its ``Exif\0\0`` prefix.

    Returns
    -------
    orientation : int
        1 to 8; 1 when absent or unusable.
    valid : bool
        False when the block or the tag's value is broken.
    """
    if not exif:
        return 1, True
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None:
        return 1, False
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for index in range(count):
            tag, kind, values = struct.unpack_from(order + "HHI", block, directory + 2 + 12 * index)
            if tag != _TAG:
                continue
            (value,) = struct.unpack_from(order + "H", block, directory + 2 + 12 * index + 8)
            usable = kind == _SHORT and values == 1 and 1 <= value <= 8
            return (value, True) if usable else (1, False)
    except struct.error:
        return 1, False
    return 1, True


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a stored picture upright; orientation 1 returns the same object, no copy.

    Parameters
    ----------
    image : Image
        Picture as stored.
    orientation : int
        EXIF orientation, 1 to 8.

    Returns
    -------
    Image
        Upright picture.
    """
    method = TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def box_to_stored(
    box: Sequence[float], orientation: int, stored_size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Map a box of the upright picture back to the stored one.

    Parameters
    ----------
    box : sequence of float
        ``x0, y0, x1, y1`` in upright pixels, edges at whole numbers.
    orientation : int
        EXIF orientation, 1 to 8.
    stored_size : tuple of int
        Width and height as stored, pixels.

    Returns
    -------
    tuple of float
        ``x0, y0, x1, y1`` in stored pixels, again with x0 <= x1 and y0 <= y1.
    """
    one = to_stored(box[0], box[1], orientation, stored_size)
    two = to_stored(box[2], box[3], orientation, stored_size)
    return min(one[0], two[0]), min(one[1], two[1]), max(one[0], two[0]), max(one[1], two[1])


def to_stored(x: float, y: float, orientation: int, stored_size: tuple[int, int]) -> tuple[float, float]:
    """Map a point of the upright picture back to the stored one.

    Parameters
    ----------
    x, y : float
        Point in upright pixels, edges at whole numbers.
    orientation : int
        EXIF orientation, 1 to 8.
    stored_size : tuple of int
        Width and height as stored, pixels.

    Returns
    -------
    tuple of float
        The same point in stored pixels.
    """
    width, height = stored_size
    return {
        1: (x, y),
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (y, height - x),
        7: (width - y, height - x),
        8: (width - y, x),
    }[orientation]
