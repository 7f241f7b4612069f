"""Pictures of every shape that a file can say: a pixel wide and 65,535 high, the reverse, and all between."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

from PIL import Image

from gates.support.made_pictures import encode, exif_with_orientation, png_chunk

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_KINDS: Final = [(depth, 0) for depth in (1, 2, 4, 8, 16)] + [(depth, 3) for depth in (1, 2, 4, 8)]
PNG_KINDS: Final = _KINDS + [(depth, colour) for colour in (2, 4, 6) for depth in (8, 16)]
_LONGEST: Final = {"JPEG": 65500, "WEBP": 16383}  # beyond these the encoders stop
_BYTES_AT_ONCE: Final = 2**20


def png_of_one_level(width: int, height: int, depth: int, colour: int, level: int = 180) -> bytes:
    """A valid PNG whose bytes are all alike; 25 million pixels take 25 to 150 kB and no memory to make.

    Parameters
    ----------
    width, height : int
        Pixels.
    depth, colour : int
        Bits a channel and colour type, one of `PNG_KINDS`.
    level : int
        Every byte of every row, 0 to 255.

    Returns
    -------
    bytes
        The file.
    """
    row = b"\0" + bytes([level]) * ((width * depth * _CHANNELS[colour] + 7) // 8)
    packer, step = zlib.compressobj(1), max(_BYTES_AT_ONCE // len(row), 1)
    packed = b"".join(packer.compress(row * min(step, height - start)) for start in range(0, height, step))
    palette = png_chunk(b"PLTE", bytes(i % 256 for i in range(3 * 2**depth))) if colour == 3 else b""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + png_chunk(b"IDAT", packed + packer.flush()) + png_chunk(b"IEND", b"")


def draw_size(rng: random.Random, pixels: int, longest: int) -> tuple[int, int]:
    """Width and height up to so many pixels; every order of magnitude of either side is as likely."""
    one = min(int(longest ** rng.random()), longest)
    other = max(min(int(pixels / one * rng.choice((1.0, 1.0, rng.random()))), longest), 1)
    return (one, other) if rng.random() < 0.5 else (other, one)


def draw_picture(rng: random.Random, pixels: int, longest: int) -> tuple[str, bytes]:
    """Make a valid picture of a drawn shape and kind.

    Parameters
    ----------
    rng : random.Random
        Seeded.
    pixels : int
        Largest number of pixels.
    longest : int
        Longest side of a PNG, pixels.

    Returns
    -------
    str
        What it is, for a message.
    bytes
        The file.
    """
    if rng.random() < 0.6:
        (width, height), (depth, colour) = draw_size(rng, pixels, longest), rng.choice(PNG_KINDS)
        name = f"{width}x{height} PNG, {depth} bits, colour type {colour}"
        return name, png_of_one_level(width, height, depth, colour, rng.randrange(256))
    image_format = rng.choice(("JPEG", "WEBP"))
    width, height = draw_size(rng, pixels, min(longest, _LONGEST[image_format]))
    mode = rng.choice(("RGB", "L", "CMYK") if image_format == "JPEG" else ("RGB", "RGBA"))
    options = {"progressive": rng.random() < 0.3} if image_format == "JPEG" else {"method": 0}
    if turned := rng.random() < 0.3:
        options["exif"] = exif_with_orientation(rng.randrange(2, 9))  # type: ignore[assignment]
    picture = Image.new(mode, (width, height), rng.randrange(256))
    name = f"{width}x{height} {image_format} {mode}{', turned' if turned else ''}"
    return name, encode(picture, image_format, **options)
