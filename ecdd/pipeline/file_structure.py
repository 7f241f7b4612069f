"""Walks over a file's structure before any pixel is decoded.

Pillow accepts a PNG without its end chunk, a JPEG whose scan holds impossible markers and the first frame of an
animation. These walks refuse them, read the size from the header, and find what follows the picture. They cannot
notice flipped bytes inside a JPEG scan that still decode to something: such a picture is judged as it decodes.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from ecdd.pipeline.reason_codes import ReasonCode, Rejected

_CORRUPT: Final = (ReasonCode.CORRUPT_FILE,)
_TRUNCATED: Final = (ReasonCode.CORRUPT_FILE, ReasonCode.TRUNCATED)
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Inside a scan 0xFF is followed by a stuffed zero, a restart marker or a fill byte; anything else ends the scan.
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_AFTER_SCAN: Final = frozenset({0xC4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE})
_PNG_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


@dataclass
class Structure:
    """What the walk found.

    Attributes
    ----------
    width, height : int
        Size in the header, pixels, before orientation.
    end : int
        Offset behind the picture's last byte.
    metadata_bytes : int
        Bytes of metadata (EXIF, ICC, text), decompressed where compressed.
    animated : bool
        Several frames that a viewer would play.
    bits : int
        Bits a channel.
    """

    width: int = 0
    height: int = 0
    end: int = 0
    metadata_bytes: int = 0
    animated: bool = False
    bits: int = 8


def walk(data: bytes, image_format: str, max_metadata_bytes: int) -> Structure:
    """Check a file's structure.

    Parameters
    ----------
    data : bytes
        The whole file.
    image_format : {"JPEG", "PNG", "WEBP"}
        What `sniff` recognised.
    max_metadata_bytes : int
        Limit; decompression stops there.

    Returns
    -------
    Structure
        Size, end and marks of the picture.

    Raises
    ------
    Rejected
        ``IO-001`` for damage, with ``IO-008`` where the file ends too early; ``IO-009`` for too much metadata.
    """
    walker = {"JPEG": _walk_jpeg, "PNG": _walk_png, "WEBP": _walk_webp}[image_format]
    try:
        found = walker(data, max_metadata_bytes)
    except (struct.error, IndexError) as error:
        raise Rejected(_TRUNCATED, f"the {image_format} header ends too early") from error
    if found.metadata_bytes > max_metadata_bytes:
        raise _metadata_too_large(found.metadata_bytes, max_metadata_bytes)
    if found.width < 1 or found.height < 1:
        raise Rejected(_CORRUPT, f"the header says {found.width}x{found.height} pixels")
    return found


def _metadata_too_large(size: int, limit: int) -> Rejected:
    return Rejected(
        (ReasonCode.METADATA_TOO_LARGE,), f"{size} bytes of metadata, the limit max_metadata_bytes is {limit}"
    )


def _walk_jpeg(data: bytes, max_metadata_bytes: int) -> Structure:
    found = Structure()
    position = 2
    scans = 0
    while True:
        position, marker = _next_marker(data, position)
        if marker == 0xD9:
            if not scans:
                raise Rejected(_CORRUPT, "the JPEG ends before any scan")
            found.end = position
            return found
        if marker == 0xD8:
            raise Rejected(_CORRUPT, "a second start of image inside the JPEG")
        if 0xD0 <= marker <= 0xD7 or marker == 0x01:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2 or position + length > len(data):
            raise Rejected(_TRUNCATED, f"JPEG segment {marker:#04x} of {length} bytes goes beyond the end of the file")
        if marker in _SOF:
            found.bits = data[position + 2]
            found.height, found.width = struct.unpack_from(">HH", data, position + 3)
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            found.metadata_bytes += length - 2
            if found.metadata_bytes > max_metadata_bytes:
                raise _metadata_too_large(found.metadata_bytes, max_metadata_bytes)
        position += length
        if marker == 0xDA:
            if not found.width:
                raise Rejected(_CORRUPT, "a JPEG scan before the frame header")
            scans += 1
            position = _skip_scan(data, position)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """Position behind the next marker, and the marker; fill bytes 0xFF are allowed before it."""
    if position >= len(data):
        raise Rejected(_TRUNCATED, "the JPEG has no end of image")
    if data[position] != 0xFF:
        raise Rejected(_CORRUPT, f"no JPEG marker at offset {position}")
    while position < len(data) and data[position] == 0xFF:
        position += 1
    if position >= len(data):
        raise Rejected(_TRUNCATED, "the JPEG ends inside a marker")
    return position + 1, data[position]


def _skip_scan(data: bytes, position: int) -> int:
    """Offset of the first marker behind the entropy-coded data that starts at `position`."""
    match = _SCAN_END.search(data, position)
    if match is None:
        raise Rejected(_TRUNCATED, "the JPEG scan has no end")
    marker = data[match.start() + 1]
    if marker in _AFTER_SCAN or 0xE0 <= marker <= 0xEF:
        return match.start()
    raise Rejected(_CORRUPT, f"impossible marker {marker:#04x} inside a JPEG scan at offset {match.start()}")


def _walk_png(data: bytes, max_metadata_bytes: int) -> Structure:
    found = Structure()
    position = 8
    seen: set[bytes] = set()
    while True:
        if position + 12 > len(data):
            raise Rejected(_TRUNCATED, "the PNG has no IEND chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, position + 8 + length
        if end + 4 > len(data):
            raise Rejected(_TRUNCATED, f"PNG chunk {kind!r} of {length} bytes goes beyond the end of the file")
        if not seen and kind != b"IHDR":
            raise Rejected(_CORRUPT, f"the first PNG chunk is {kind!r}, not IHDR")
        if kind in _PNG_CRITICAL and zlib.crc32(memoryview(data)[position + 4 : end]) != _crc(data, end):
            raise Rejected(_CORRUPT, f"wrong checksum of PNG chunk {kind!r}")
        if kind == b"IHDR":
            found.width, found.height, found.bits = struct.unpack_from(">IIB", data, start)
        elif kind == b"acTL":
            found.animated = struct.unpack_from(">I", data, start)[0] > 1
        elif kind in (b"iTXt", b"zTXt", b"iCCP", b"tEXt", b"eXIf"):
            budget = max_metadata_bytes - found.metadata_bytes
            found.metadata_bytes += _metadata_size(kind, data[start:end], budget)
            if found.metadata_bytes > max_metadata_bytes:
                raise _metadata_too_large(found.metadata_bytes, max_metadata_bytes)
        seen.add(kind)
        position = end + 4
        if kind == b"IEND":
            if b"IDAT" not in seen:
                raise Rejected(_CORRUPT, "the PNG has no IDAT chunk")
            found.end = position
            return found


def _crc(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "big")


def _metadata_size(kind: bytes, chunk: bytes, budget: int) -> int:
    """Bytes of one metadata chunk once decompressed; at most `budget` + 1 are produced."""
    keyword_end = chunk.find(b"\0")
    compressed = b""
    if keyword_end >= 0:
        rest = chunk[keyword_end + 1 :]
        if kind in (b"zTXt", b"iCCP"):
            compressed = rest[1:]
        elif kind == b"iTXt" and rest[:1] == b"\x01":
            compressed = rest[2:].split(b"\0", 2)[-1]
    if not compressed:
        return len(chunk)
    try:
        return len(zlib.decompressobj().decompress(compressed, max(budget, 0) + 1))
    except zlib.error:
        return len(chunk)


def _walk_webp(data: bytes, _max_metadata_bytes: int) -> Structure:
    found = Structure()
    (riff_size,) = struct.unpack_from("<I", data, 4)
    found.end = 8 + riff_size + (riff_size & 1)
    if 8 + riff_size > len(data):
        raise Rejected(_TRUNCATED, f"the WebP container says {8 + riff_size} bytes, the file has {len(data)}")
    position = 12
    has_picture = False
    while position + 8 <= 8 + riff_size:
        kind, length = struct.unpack_from("<4sI", data, position)
        start = position + 8
        if start + length > 8 + riff_size:
            raise Rejected(_TRUNCATED, f"WebP chunk {kind!r} of {length} bytes goes beyond the end of the container")
        if kind == b"VP8X":
            found.animated = bool(data[start] & 0x02)
            found.width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
            found.height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
        elif kind in (b"VP8 ", b"VP8L"):
            has_picture = True
            if not found.width:
                found.width, found.height = _webp_size(kind, data, start)
        elif kind in (b"ANMF", b"ANIM"):
            found.animated = has_picture = True
        elif kind in (b"EXIF", b"ICCP", b"XMP "):
            found.metadata_bytes += length
        position = start + length + (length & 1)
    if not has_picture:
        raise Rejected(_CORRUPT, "the WebP holds no picture")
    return found


def _webp_size(kind: bytes, data: bytes, start: int) -> tuple[int, int]:
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, start + 6)
        return width & 0x3FFF, height & 0x3FFF
    (bits,) = struct.unpack_from("<I", data, start + 1)
    return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
