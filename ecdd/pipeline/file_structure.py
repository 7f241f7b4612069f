"""Walks over a file's structure before any pixel is decoded.

Pillow accepts a PNG without its end chunk, a JPEG whose scan holds impossible markers and the first frame of an
animation. These walks refuse them, read the size from the header, and find what follows the picture.

What cannot be noticed: flipped bytes inside a JPEG scan or a lossy WebP frame that still decode to something, and a
JPEG scan that was cut short but has an end marker again (libjpeg fills the rest with grey). Neither format carries a
checksum of its pixels; such a picture is judged as it decodes.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from ecdd.pipeline.reason_codes import ReasonCode, Rejected

_CORRUPT: Final = (ReasonCode.CORRUPT_FILE,)
_TRUNCATED: Final = (ReasonCode.CORRUPT_FILE, ReasonCode.TRUNCATED)
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Inside a scan 0xFF is followed by a stuffed zero, a restart marker or a fill byte; anything else ends the scan.
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_AFTER_SCAN: Final = frozenset({0xC4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE})
# No encoder comes near these; beyond them a small file keeps the decoders busy for minutes, because each scan visits
# every block of the picture and each segment or chunk is a step of interpreted code. 25 megapixels with 32 scans
# decode within the time limit; usual progressive files have 6 to 20 scans.
_MAX_SCANS: Final = 32
_MAX_SEGMENTS: Final = 4096
_MAX_CHUNKS: Final = 16384
_MAX_FILL_BYTES: Final = 4096
_FILL: Final = re.compile(rb"\xff+")
_PNG_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_METADATA: Final = frozenset({b"iTXt", b"zTXt", b"iCCP", b"tEXt", b"eXIf"})
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


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
    channels : int
        Samples a pixel as stored; 1 for a palette.
    samples : float
        Samples a pixel of a JPEG, after chroma subsampling: 3.0 for 4:4:4, 1.5 for 4:2:0.
    staged : bool
        JPEG of several scans, or interlaced PNG.
    pixel_spans : list of tuple of int
        PNG only: start and end of each chunk of pixel data.
    """

    width: int = 0
    height: int = 0
    end: int = 0
    metadata_bytes: int = 0
    animated: bool = False
    bits: int = 8
    channels: int = 3
    samples: float = 3.0
    staged: bool = False
    pixel_spans: list[tuple[int, int]] = field(default_factory=list)


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
    for _ in range(_MAX_SEGMENTS):
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
        if length < 2:
            raise Rejected(_CORRUPT, f"JPEG segment {marker:#04x} says it has {length} bytes, at least 2 are needed")
        if position + length > len(data):
            raise Rejected(_TRUNCATED, f"JPEG segment {marker:#04x} of {length} bytes goes beyond the end of the file")
        if marker in _SOF:
            _read_frame(data, position, length, marker, found)
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            found.metadata_bytes += length - 2
            if found.metadata_bytes > max_metadata_bytes:
                raise _metadata_too_large(found.metadata_bytes, max_metadata_bytes)
        position += length
        if marker == 0xDA:
            scans += 1
            _check_scan(scans, found)
            position = _skip_scan(data, position)
    raise Rejected(_CORRUPT, f"more than {_MAX_SEGMENTS} JPEG segments")


def _read_frame(data: bytes, position: int, length: int, marker: int, found: Structure) -> None:
    """Read the frame header whose length field is at `position`."""
    if found.width:
        raise Rejected(_CORRUPT, "a second frame header inside the JPEG")
    if length < 8 or length != 8 + 3 * data[position + 7]:
        raise Rejected(_CORRUPT, f"the JPEG frame header has {length} bytes")
    found.bits, found.height, found.width, found.channels = struct.unpack_from(">BHHB", data, position + 2)
    found.staged = marker in _PROGRESSIVE
    factors = [(code >> 4, code & 15) for code in data[position + 9 : position + length : 3]]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in factors):
        raise Rejected(_CORRUPT, f"JPEG sampling factors {factors} do not exist")
    if factors:
        whole = max(h for h, _ in factors) * max(v for _, v in factors)
        found.samples = sum(h * v for h, v in factors) / whole


def _check_scan(scans: int, found: Structure) -> None:
    if not found.width:
        raise Rejected(_CORRUPT, "a JPEG scan before the frame header, or a frame without pixels")
    if scans > _MAX_SCANS:
        raise Rejected(_CORRUPT, f"more than {_MAX_SCANS} scans in the JPEG")
    found.staged = found.staged or scans > 1


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """Position behind the next marker, and the marker; fill bytes 0xFF are allowed before it."""
    if position >= len(data):
        raise Rejected(_TRUNCATED, "the JPEG has no end of image")
    fill = _FILL.match(data, position)
    if fill is None:
        raise Rejected(_CORRUPT, f"no JPEG marker at offset {position}")
    if fill.end() - position > _MAX_FILL_BYTES:
        raise Rejected(_CORRUPT, f"{fill.end() - position} fill bytes before a JPEG marker at offset {position}")
    if fill.end() >= len(data):
        raise Rejected(_TRUNCATED, "the JPEG ends inside a marker")
    return fill.end() + 1, data[fill.end()]


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
    for index in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise Rejected(_TRUNCATED, "the PNG has no IEND chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, position + 8 + length
        if end + 4 > len(data):
            raise Rejected(_TRUNCATED, f"PNG chunk {kind!r} of {length} bytes goes beyond the end of the file")
        if (kind == b"IHDR") != (index == 0):
            raise Rejected(_CORRUPT, f"PNG chunk {index} is {kind!r}; the first one, and no other, must be IHDR")
        if kind in _PNG_CRITICAL and zlib.crc32(memoryview(data)[position + 4 : end]) != _crc(data, end):
            raise Rejected(_CORRUPT, f"wrong checksum of PNG chunk {kind!r}")
        if kind == b"IHDR":
            _read_header(data, start, length, found)
        elif kind == b"IDAT":
            found.pixel_spans.append((start, end))
        elif kind == b"acTL":
            found.animated = struct.unpack_from(">I", data, start)[0] > 1
        elif kind in _PNG_METADATA:
            _add_metadata(found, kind, data[start:end], max_metadata_bytes)
        position = end + 4
        if kind == b"IEND":
            if not found.pixel_spans:
                raise Rejected(_CORRUPT, "the PNG has no IDAT chunk")
            found.end = position
            return found
    raise Rejected(_CORRUPT, f"more than {_MAX_CHUNKS} PNG chunks")


def _read_header(data: bytes, start: int, length: int, found: Structure) -> None:
    if length != 13:
        raise Rejected(_CORRUPT, f"the PNG header has {length} bytes, not 13")
    found.width, found.height, found.bits, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, start)
    found.staged = interlace == 1
    found.channels = _PNG_CHANNELS.get(colour, 0)
    if not found.channels or found.bits not in (1, 2, 4, 8, 16):
        raise Rejected(_CORRUPT, f"PNG colour type {colour} with {found.bits} bits does not exist")


def _crc(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "big")


def _add_metadata(found: Structure, kind: bytes, chunk: bytes, limit: int) -> None:
    found.metadata_bytes += _metadata_size(kind, chunk, limit - found.metadata_bytes)
    if found.metadata_bytes > limit:
        raise _metadata_too_large(found.metadata_bytes, limit)


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
    chunks = 0
    while position + 8 <= 8 + riff_size:
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise Rejected(_CORRUPT, f"more than {_MAX_CHUNKS} WebP chunks")
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
