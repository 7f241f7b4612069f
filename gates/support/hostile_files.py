"""Contents of the malformed corpus, second part: bombs, broken metadata, disguises, animation, odd but valid files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image

from gates.support.made_pictures import asymmetric, encode, exif_with_orientation, png_chunk, raw_png, sixteen_bit_png
from gates.support.malformed_files import CORRUPT, DECODED, TRUNCATED, Entry, only, valid_files

_OK: Final = only(DECODED)
_METADATA: Final = only(("IO-009",))
_UNSUPPORTED: Final = only(("IO-002",))
_DISGUISED: Final = only(("IO-006",))
_MEBIBYTE: Final = 2**20


def bombs() -> Iterator[Entry]:
    """Small files that ask for much memory or time."""
    million = zlib.compress(bytes(64 * _MEBIBYTE), 9)
    jpeg = valid_files()["baseline.jpg"]
    for kind, head in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")):
        extra = png_chunk(kind, head + million)
        yield f"bomb_{kind.decode()}.png", raw_png(4, 4, 8, 2, bytes(52), extra), _METADATA
        yield f"bomb_{kind.decode()}_behind.png", _behind_data(extra), _METADATA
    small = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000), 9))
    yield "bomb_many_texts.png", raw_png(4, 4, 8, 2, bytes(52), small * 8), _METADATA
    yield "bomb_pixels.png", raw_png(4, 4, 8, 2, bytes(64 * _MEBIBYTE)), None
    segment = b"\xff\xe1\xff\xff" + bytes(65533)
    yield "bomb_app_segments.jpg", jpeg[:2] + segment * 20 + jpeg[2:], _METADATA
    yield "bomb_comments.jpg", jpeg[:2] + segment.replace(b"\xe1", b"\xfe") * 20 + jpeg[2:], _METADATA
    yield "bomb_exif.png", raw_png(4, 4, 8, 2, bytes(52), png_chunk(b"eXIf", bytes(2 * _MEBIBYTE))), _METADATA
    yield "bomb_unknown_chunk.png", raw_png(4, 4, 8, 2, bytes(52), png_chunk(b"quUx", bytes(2 * _MEBIBYTE))), None
    yield "bomb_xmp.webp", _with_webp_chunk(b"XMP ", bytes(2 * _MEBIBYTE)), _METADATA
    yield "bomb_scans.jpg", _many_scans(4096, 4096, 3000), only(CORRUPT)
    yield "bomb_empty_chunks.png", raw_png(4, 4, 8, 2, bytes(52), png_chunk(b"quUx", b"") * 200_000), None
    yield "bomb_fill_bytes.jpg", jpeg[:2] + b"\xff" * (4 * _MEBIBYTE) + jpeg[2:], None


def _behind_data(extra: bytes) -> bytes:
    png = raw_png(4, 4, 8, 2, bytes(52))
    end = png.index(b"IEND") - 4
    return png[:end] + extra + png[end:]


def _with_webp_chunk(kind: bytes, payload: bytes) -> bytes:
    webp = valid_files()["lossy.webp"]
    body = webp[12:] + kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) & 1)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive grey JPEG: one scan of coefficients, then very many refinements that each run over all blocks."""
    jpeg = encode(Image.new("L", (width, height), 90), "JPEG", progressive=True, quality=50)
    start = jpeg.rindex(b"\xff\xda")
    end = jpeg.rindex(b"\xff\xd9")
    return jpeg[:start] + jpeg[start:end] * scans + jpeg[end:]


def metadata_files() -> Iterator[Entry]:
    """Broken EXIF and ICC, orientations that do not exist; each of them is only metadata, so the picture decodes."""
    picture = asymmetric()
    blocks = {
        "empty": b"",
        "short": b"Exif\0\0II",
        "garbage": b"Exif\0\0" + bytes(range(200)),
        "no_header": b"garbage without any header",
        "offset_beyond_end": b"Exif\0\0II*\0\xff\xff\xff\x7f",
        "offset_to_itself": b"Exif\0\0II*\0\0\0\0\0",
        "count_too_large": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(24),
        **{f"orientation_{value}": _exif(3, 1, value) for value in (0, 9, 255, 65535)},
        "orientation_text": _exif(2, 1, 6),
        "orientation_rational": _exif(5, 1, 6),
        "orientation_many": _exif(3, 1000, 6),
        "orientation_negative": _exif(8, 1, 65535),
    }
    for label, block in blocks.items():
        for image_format, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            yield f"exif_{label}.{extension}", encode(picture, image_format, exif=block), _OK
    for value in range(1, 9):
        yield f"exif_valid_{value}.jpg", encode(picture, "JPEG", exif=exif_with_orientation(value)), _OK
    profiles = {"garbage": b"no profile", "zeros": bytes(128), "size_lies": b"\xff\xff\xff\xff" + bytes(124)}
    for label, profile in profiles.items():
        for image_format, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            yield f"icc_{label}.{extension}", encode(picture, image_format, icc_profile=profile), _OK
    for label, chunk in (
        ("iccp_not_zlib", png_chunk(b"iCCP", b"k\0\0not zlib")),
        ("iccp_no_end_of_name", png_chunk(b"iCCP", b"k" * 40)),
        ("gamma_zero", png_chunk(b"gAMA", bytes(4))),
        ("gamma_short", png_chunk(b"gAMA", b"\0")),
        ("chromaticity_short", png_chunk(b"cHRM", b"\0" * 5)),
        ("text_no_end", png_chunk(b"tEXt", b"k" * 90)),
        ("ztxt_not_zlib", png_chunk(b"zTXt", b"k\0\0not zlib")),
        ("ztxt_unknown_method", png_chunk(b"zTXt", b"k\0\x09abc")),
        ("itxt_short", png_chunk(b"iTXt", b"k\0\1")),
        ("physical_short", png_chunk(b"pHYs", b"\0")),
        ("exif_odd", png_chunk(b"eXIf", b"MM")),
        ("chunk_checksum", png_chunk(b"tEXt", b"k\0v")[:-1] + b"\0"),
    ):
        outcomes = only(CORRUPT) if label == "chunk_checksum" else None
        yield f"png_{label}.png", raw_png(96, 64, 8, 2, bytes((96 * 3 + 1) * 64), chunk), outcomes


def _exif(kind: int, count: int, value: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, kind, count, value, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + bytes(4)


def odd_files() -> Iterator[Entry]:
    """Disguises, formats that are not accepted, animation, odd sizes and modes."""
    valid = valid_files()
    jpeg, png, webp = valid["baseline.jpg"], valid["rgb.png"], valid["lossy.webp"]
    picture = asymmetric()
    yield "zero_bytes.jpg", b"", only(TRUNCATED)
    yield "zero_bytes", b"", only(TRUNCATED)
    for name, content in (
        ("png_called.jpg", png), ("webp_called.jpg", webp), ("jpeg_called.png", jpeg), ("webp_called.png", webp),
        ("jpeg_called.webp", jpeg), ("png_called.webp", png), ("jpeg_called.gif", jpeg), ("png_called.bmp", png),
        ("gif_called.jpg", encode(picture, "GIF")), ("tiff_called.png", encode(picture, "TIFF")),
    ):  # fmt: skip
        yield f"disguise_{name}", content, _DISGUISED
    for extension in ("jpe", "jpeg", "jfif", "JPG", "mpo", "dat", "jpg.bak"):
        yield f"named.{extension}", jpeg, _OK
    yield "named_without_extension", jpeg, _OK
    for extension in ("gif", "bmp", "tiff", "ico", "ppm", "tga", "jp2", "avif"):
        encoder = {"jp2": "JPEG2000", "ico": "ICO", "avif": "AVIF"}.get(extension, extension.upper())
        if encoder in _savable():
            yield f"unsupported.{extension}", encode(picture, encoder), _UNSUPPORTED
    yield "unsupported.pdf", b"%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF", _UNSUPPORTED
    yield "unsupported.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), _UNSUPPORTED
    yield "unsupported.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", _UNSUPPORTED
    yield "page.html", b"<!doctype html><img src=x>", _UNSUPPORTED
    yield "text.jpg", b"this is not a picture", only(CORRUPT)
    yield "zeros.png", bytes(4096), only(CORRUPT)
    yield "script.webp", b"#!/bin/sh\nexit 0\n", only(CORRUPT)
    frames = [picture, picture.transpose(Image.Transpose.ROTATE_180), picture]
    for image_format, extension in (("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif")):
        content = encode(frames[0], image_format, save_all=True, append_images=frames[1:])
        yield f"animated.{extension}", content, _UNSUPPORTED if extension == "gif" else only(("IO-005",))
    yield "two_pictures.mpo", encode(frames[0], "MPO", save_all=True, append_images=frames[1:]), _OK
    for width, height in ((1, 1), (1, 2), (2, 1), (1, 20_000), (20_000, 1), (3, 3), (16, 16_000), (17, 31)):
        for image_format, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            if image_format == "WEBP" and max(width, height) > 16383:
                continue
            content = encode(Image.new("RGB", (width, height), (9, 99, 199)), image_format)
            yield f"size_{width}x{height}.{extension}", content, _OK
    yield from _odd_modes(picture)


def _savable() -> dict[str, object]:
    Image.init()
    return dict(Image.SAVE)


def _odd_modes(picture: Image.Image) -> Iterator[Entry]:
    ramp = np.arange(96 * 64, dtype=np.uint16).reshape(64, 96) * 10
    yield "mode_one_bit.png", encode(picture.convert("1"), "PNG"), _OK
    yield "mode_grey.png", encode(picture.convert("L"), "PNG"), _OK
    yield "mode_rgb_transparent_colour.png", encode(picture, "PNG", transparency=(250, 40, 10)), _OK
    yield "mode_grey_transparent_level.png", encode(picture.convert("L"), "PNG", transparency=7), _OK
    yield "mode_one_bit_transparent.png", encode(picture.convert("1"), "PNG", transparency=1), _OK
    yield "mode_palette_alpha.png", encode(picture.quantize(4), "PNG", transparency=b"\0\x40\x80\xff"), _OK
    yield "mode_sixteen_bit_grey.png", sixteen_bit_png(ramp), _OK
    for bits in (1, 2, 4):
        rows = (b"\0" + b"\xa5" * ((16 * bits + 7) // 8)) * 16
        yield f"mode_grey_{bits}_bit.png", raw_png(16, 16, bits, 0, rows), _OK
        palette = png_chunk(b"PLTE", bytes(range(3 * 2**bits)))
        yield f"mode_palette_{bits}_bit.png", raw_png(16, 16, bits, 3, rows, palette), _OK
    for colour, channels in ((4, 2), (6, 4)):
        rows = (b"\0" + bytes(range(8 * 2 * channels))) * 8
        yield f"mode_sixteen_bit_colour_type_{colour}.png", raw_png(8, 8, 16, colour, rows), _OK
    key = png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    yield (
        "mode_sixteen_bit_transparent_colour.png",
        raw_png(8, 8, 16, 2, (b"\0" + bytes(48)) * 8, key),
        only(("IO-007",)),
    )
    grey_key = png_chunk(b"tRNS", struct.pack(">H", 300))
    yield "mode_sixteen_bit_transparent_grey.png", raw_png(8, 8, 16, 0, (b"\0" + b"\1\x2c" * 8) * 8, grey_key), _OK
