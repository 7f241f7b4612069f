"""Small pictures that the pixel gates make themselves: asymmetric in both axes and in colour."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION_TAG = 0x0112


def asymmetric(width: int = 96, height: int = 64) -> Image.Image:
    """An RGB picture that no transpose, mirror, turn or channel swap leaves unchanged."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([(x * 5) % 256, (y * 7) % 256, (x * 2 + y * 3) % 256], axis=-1).astype(np.uint8)
    pixels[: height // 4, : width // 3] = (250, 40, 10)
    pixels[height // 2 :, : width // 5] = (10, 60, 240)
    return Image.fromarray(pixels)


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """The file of a picture, as bytes."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def exif_with_orientation(value: int) -> bytes:
    """An EXIF block whose only entry is the orientation."""
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = value
    return exif.tobytes()


def stored_for(image: Image.Image, orientation: int) -> Image.Image:
    """What a camera held that way would have stored: the inverse of what the tag asks a reader to do."""
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    return image if inverse is None else image.transpose(inverse)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def raw_png(width: int, height: int, bits: int, colour_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG from raw filtered rows; for depths and chunks that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def sixteen_bit_png(values: NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG: grey for shape (H, W), RGB for (H, W, 3)."""
    height, width = values.shape[:2]
    big_endian = values.astype(">u2").reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)
    return raw_png(width, height, 16, 0 if values.ndim == 2 else 2, rows)


def grey_profile(gamma: float = 1.0) -> bytes:
    """ICC profile of grey whose levels are light to the power 1 / gamma: its header, white point and curve."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + struct.pack(">Iiii", 0, 63190, 65536, 54061)  # D50
    tags, place = {b"wtpt": white, b"kTRC": curve}, 128 + 4 + 12 * 2
    table = struct.pack(">I", len(tags))
    for name, content in tags.items():
        table += name + struct.pack(">II", place, len(content))
        place += len(content)
    header = struct.pack(">I4sI4s4s4s", place, b"ecdd", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + b"".join(tags.values())


def wide_gamut_profile() -> bytes:
    """A matrix ICC profile whose primaries lie far outside sRGB (channels swapped: red and green colorants)."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    offsets = {}
    for index in range(count):
        tag, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        offsets[tag] = (offset, size)
    red, green = offsets[b"rXYZ"], offsets[b"gXYZ"]
    first = bytes(profile[red[0] : red[0] + red[1]])
    second = bytes(profile[green[0] : green[0] + green[1]])
    profile[red[0] : red[0] + red[1]] = second
    profile[green[0] : green[0] + green[1]] = first
    return bytes(profile)
