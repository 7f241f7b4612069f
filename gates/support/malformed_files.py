"""Contents of the malformed corpus: files that are broken, hostile or odd, made by code from one drawn picture.

Each entry is a name, the content, and the outcomes that are right for it. An outcome is the tuple of reason codes of
a rejection, or the empty tuple for a decoded picture; None means that both are right, as long as nothing else happens.

Damage that no decoder notices is in the corpus too, with None: bytes flipped inside a JPEG scan or a lossy WebP
frame that still decode to some picture, a JPEG scan that was cut but has an end marker again, a flipped bit in a
chunk of PNG metadata. Such a picture is judged as it decodes.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image

from gates.support.made_pictures import asymmetric, encode, exif_with_orientation, png_chunk, raw_png, sixteen_bit_png

Outcome = tuple[str, ...]
Entry = tuple[str, bytes, frozenset[Outcome] | None]

DECODED: Final[Outcome] = ()
CORRUPT: Final[Outcome] = ("IO-001",)
TRUNCATED: Final[Outcome] = ("IO-001", "IO-008")
_BROKEN: Final = frozenset({CORRUPT, TRUNCATED})
_OK: Final = frozenset({DECODED})
_SEED: Final = 20260101
_CUTS: Final = 16
_FLIPS: Final = 12
_SPLICES: Final = 4


def only(*outcomes: Outcome) -> frozenset[Outcome]:
    """These outcomes and no other."""
    return frozenset(outcomes)


def valid_files() -> dict[str, bytes]:
    """One small valid file of each accepted kind, by a name with the right extension."""
    rng = np.random.default_rng(_SEED)
    noise = rng.integers(-20, 21, (64, 96, 3))
    picture = Image.fromarray(np.clip(np.asarray(asymmetric()) + noise, 0, 255).astype(np.uint8))
    translucent = picture.copy()
    translucent.putalpha(picture.convert("L"))
    deep = rng.integers(0, 65536, (64, 96, 3), dtype=np.uint16)
    turned = exif_with_orientation(6)
    return {
        "baseline.jpg": encode(picture, "JPEG", quality=85),
        "progressive.jpg": encode(picture, "JPEG", quality=85, progressive=True),
        "restart.jpg": encode(picture, "JPEG", quality=85, restart_marker_blocks=2),
        "exif.jpg": encode(picture, "JPEG", quality=85, exif=turned),
        "cmyk.jpg": encode(picture.convert("CMYK"), "JPEG", quality=85),
        "grey.jpg": encode(picture.convert("L"), "JPEG", quality=85),
        "rgb.png": encode(picture, "PNG", exif=turned),
        "palette.png": encode(picture.quantize(16), "PNG", transparency=3),
        "rgba.png": encode(translucent, "PNG"),
        "grey_alpha.png": encode(translucent.convert("LA"), "PNG"),
        "sixteen_bit.png": sixteen_bit_png(deep),
        "sixteen_bit_grey.png": sixteen_bit_png(deep[..., 0].copy()),
        "lossy.webp": encode(picture, "WEBP", quality=80, exif=turned),
        "lossless.webp": encode(picture, "WEBP", lossless=True),
        "alpha.webp": encode(translucent, "WEBP", quality=80),
    }


def damaged_files() -> Iterator[Entry]:
    """Valid files, and each of them cut at many places, with flipped bits, with a spliced-out stretch."""
    rng = random.Random(_SEED)  # noqa: S311 - a reproducible corpus, no secret
    for name, data in valid_files().items():
        yield f"valid_{name}", data, _OK
        yield f"trailing_{name}", data + b"behind the end", _OK
        yield from _cuts(name, data, rng)
        for index in range(_FLIPS):
            damaged = bytearray(data)
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            yield f"flip{index:02d}_{name}", bytes(damaged), None
        for index in range(_SPLICES):
            start = rng.randrange(12, len(data) - 40)
            yield f"splice{index}_{name}", data[:start] + data[start + rng.randrange(1, 40) :], None


def _cuts(name: str, data: bytes, rng: random.Random) -> Iterator[Entry]:
    offsets = {1, 7, 11, 13, 30, len(data) - 1, len(data) - 2, len(data) - 3, len(data) // 2}
    while len(offsets) < _CUTS:
        offsets.add(rng.randrange(12, len(data)))
    for offset in sorted(offsets):
        yield f"cut{offset:06d}_{name}", data[:offset], only(TRUNCATED)


def structural_files() -> Iterator[Entry]:
    """Files whose structure lies: sizes, lengths, checksums, markers, order."""
    yield from _jpeg_structure(valid_files()["baseline.jpg"])
    yield from _png_structure(valid_files()["rgb.png"])
    yield from _webp_structure(valid_files()["lossless.webp"])


def _jpeg_structure(jpeg: bytes) -> Iterator[Entry]:
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    yield "jpeg_only_start.jpg", b"\xff\xd8\xff", only(TRUNCATED)
    yield "jpeg_only_start_and_end.jpg", b"\xff\xd8\xff\xd9", only(CORRUPT)
    yield "jpeg_twice_started.jpg", b"\xff\xd8" + jpeg, only(CORRUPT)
    yield "jpeg_garbage_between_segments.jpg", jpeg[:frame] + b"garbage" + jpeg[frame:], only(CORRUPT)
    yield "jpeg_segment_length_zero.jpg", jpeg[:2] + b"\xff\xe1\x00\x00" + jpeg[2:], only(CORRUPT)
    yield "jpeg_segment_length_one.jpg", jpeg[:2] + b"\xff\xe1\x00\x01" + jpeg[2:], only(CORRUPT)
    yield "jpeg_segment_too_long.jpg", jpeg[:2] + b"\xff\xe1\xff\xff" + jpeg[2:], only(*_BROKEN)
    yield "jpeg_frame_too_short.jpg", jpeg[:frame] + b"\xff\xc0\x00\x02" + jpeg[scan:], only(*_BROKEN)
    yield "jpeg_without_frame.jpg", jpeg[:2] + jpeg[scan:], only(CORRUPT)
    yield "jpeg_without_tables.jpg", jpeg[:2] + jpeg[frame : frame + 19] + jpeg[scan:], only(*_BROKEN)
    yield "jpeg_two_frames.jpg", jpeg[:frame] + jpeg[frame : frame + 19] * 2 + jpeg[frame + 19 :], only(CORRUPT)
    yield "jpeg_impossible_marker.jpg", _put(jpeg, scan + 40, b"\xff\x55"), only(CORRUPT)
    yield "jpeg_scan_of_unknown_component.jpg", _put(jpeg, scan + 5, b"\x77"), only(CORRUPT)
    yield "jpeg_cut_scan_with_end.jpg", jpeg[: len(jpeg) // 2 + 200] + b"\xff\xd9", None
    yield "jpeg_empty_scan.jpg", jpeg[: scan + 14] + b"\xff\xd9", None
    for label, size in (("zero_height", (0, 96)), ("zero_width", (64, 0))):
        yield f"jpeg_{label}.jpg", _put(jpeg, frame + 5, struct.pack(">HH", *size)), only(CORRUPT)
    for label, size in (("65535x65535", (65535, 65535)), ("60000x60000", (60000, 60000)), ("6000x5000", (5000, 6000))):
        yield f"jpeg_header_says_{label}.jpg", _put(jpeg, frame + 5, struct.pack(">HH", *size)), only(("IO-004",))
    yield "jpeg_header_says_4000x4000.jpg", _put(jpeg, frame + 5, struct.pack(">HH", 4000, 4000)), None
    for bits in (0, 1, 12, 16, 255):
        yield f"jpeg_header_says_{bits}_bits.jpg", _put(jpeg, frame + 4, bytes([bits])), only(*_BROKEN)
    for components in (0, 2, 5, 255):
        yield f"jpeg_header_says_{components}_channels.jpg", _put(jpeg, frame + 9, bytes([components])), only(*_BROKEN)
    for marker in (0xC3, 0xC5, 0xC7, 0xC9, 0xCB):
        yield f"jpeg_frame_type_{marker:02x}.jpg", _put(jpeg, frame + 1, bytes([marker])), None


def _png_structure(png: bytes) -> Iterator[Entry]:
    data, end = png.index(b"IDAT") - 4, png.index(b"IEND") - 4
    rows = b"".join(b"\0" + bytes(96 * 3) for _ in range(64))
    packed = zlib.compress(rows)
    yield "png_only_signature.png", png[:8], only(TRUNCATED)
    yield "png_without_data.png", png[:data] + png[end:], only(CORRUPT)
    yield "png_without_header.png", png[:8] + png[data:], only(CORRUPT)
    yield "png_end_first.png", png[:8] + png[end:] + png[8:], only(CORRUPT)
    yield "png_two_headers.png", png[:33] + png[8:], only(CORRUPT)
    yield "png_wrong_header_checksum.png", _put(png, 29, b"\0\0\0\0"), only(CORRUPT)
    yield "png_wrong_data_checksum.png", _put(png, end - 4, b"\0\0\0\0"), only(CORRUPT)
    yield "png_chunk_length_max.png", _put(png, data, b"\x7f\xff\xff\xff"), only(TRUNCATED)
    yield "png_chunk_length_negative.png", _put(png, data, b"\xff\xff\xff\xff"), only(TRUNCATED)
    yield "png_chunk_length_zero.png", _put(png, data, b"\0\0\0\0"), only(*_BROKEN)
    yield "png_header_too_short.png", png[:8] + png_chunk(b"IHDR", b"\0\0\0\1") + png[33:], only(*_BROKEN)
    yield "png_unknown_critical_chunk.png", png[:data] + png_chunk(b"QQQQ", b"abc") + png[data:], None
    yield "png_chunk_name_not_letters.png", png[:data] + png_chunk(b"\0\1\2\3", b"abc") + png[data:], None
    # Chunks and checksums are right and the pixels are not all there: only the decoder itself can notice.
    for kept in (0, 1, 289, len(rows) // 2, len(rows) - 289, len(rows) - 1):
        yield f"png_pixels_missing_after_{kept:05d}.png", _png(96, 64, zlib.compress(rows[:kept])), only(TRUNCATED)
    for kept in (1, 2, len(packed) // 2):
        yield f"png_stream_cut_after_{kept:05d}.png", _png(96, 64, packed[:kept]), only(TRUNCATED)
    yield "png_stream_empty.png", _png(96, 64, b""), only(*_BROKEN)
    yield "png_stream_garbage.png", _png(96, 64, b"not a zlib stream at all"), only(*_BROKEN)
    yield "png_unknown_filter.png", _png(96, 64, zlib.compress(b"\x09" + rows[1:])), only(*_BROKEN)
    for size in ((0, 0), (0, 64), (96, 0)):
        yield f"png_header_says_{size[0]}x{size[1]}.png", _png(*size, packed), only(CORRUPT)
    for size in ((60000, 60000), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (5001, 5000)):
        yield f"png_header_says_{size[0]}x{size[1]}.png", _png(*size, packed), only(("IO-004",))
    yield "png_header_says_5000x5000.png", _png(5000, 5000, packed), only(TRUNCATED)
    for bits, colour in ((3, 2), (32, 2), (8, 1), (8, 7), (16, 3), (4, 2), (0, 0)):
        yield f"png_depth_{bits}_colour_{colour}.png", raw_png(4, 4, bits, colour, bytes(256)), only(*_BROKEN)
    yield "png_palette_missing.png", raw_png(4, 4, 8, 3, bytes(20)), None
    yield (
        "png_palette_index_too_large.png",
        raw_png(4, 4, 8, 3, (b"\0" + b"\xfa" * 4) * 4, png_chunk(b"PLTE", bytes(9))),
        None,
    )
    yield (
        "png_transparency_too_long.png",
        raw_png(4, 4, 8, 3, bytes(20), png_chunk(b"PLTE", bytes(9)) + png_chunk(b"tRNS", bytes(300))),
        None,
    )


def _webp_structure(webp: bytes) -> Iterator[Entry]:
    still = webp[:12] + b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + _three(95) + _three(63) + webp[12:]
    still = _put(still, 4, struct.pack("<I", len(still) - 8))
    yield "webp_only_header.webp", webp[:12], only(*_BROKEN)
    yield "webp_extended.webp", still, _OK
    yield "webp_without_picture.webp", b"RIFF\x04\0\0\0WEBP", only(CORRUPT)
    yield "webp_riff_size_too_large.webp", _put(webp, 4, struct.pack("<I", len(webp) + 100)), only(TRUNCATED)
    yield "webp_riff_size_max.webp", _put(webp, 4, b"\xff\xff\xff\xff"), only(TRUNCATED)
    yield "webp_riff_size_zero.webp", _put(webp, 4, bytes(4)), only(*_BROKEN)
    yield "webp_chunk_too_long.webp", _put(webp, 16, struct.pack("<I", len(webp))), only(*_BROKEN)
    yield "webp_chunk_length_zero.webp", _put(webp, 16, bytes(4)), only(*_BROKEN)
    yield "webp_wrong_signature.webp", _put(webp, 20, b"\x00"), only(*_BROKEN)
    yield "webp_two_sizes.webp", _put(still, 24, _three(4000)), only(*_BROKEN)
    yield "webp_canvas_16777216.webp", _put(still, 24, _three(2**24 - 1) + _three(2**24 - 1)), only(("IO-004",))
    lossless_size = struct.pack("<I", 16383 | 16383 << 14)
    yield "webp_frame_16384x16384.webp", _put(webp, 21, lossless_size), only(("IO-004",))
    yield "webp_frame_5000x5000.webp", _put(webp, 21, struct.pack("<I", 4999 | 4999 << 14)), None


def _three(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _put(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def _png(width: int, height: int, stream: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
