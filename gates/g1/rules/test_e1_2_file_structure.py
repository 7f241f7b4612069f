"""What is refused before or instead of decoding, and with which code."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.file_structure import walk
from ecdd.pipeline.memory_need import decoding_bytes
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from ecdd.pipeline.sniffing import claimed_format, is_cut_signature, sniff
from gates.support.made_pictures import asymmetric, encode, exif_with_orientation, png_chunk, raw_png
from gates.support.malformed_files import valid_files
from gates.support.pixel_policies import PIXELS, levels, outcome, pixels_with

pytestmark = pytest.mark.experiment("E1.2", rules=True)

VALID = valid_files()


@pytest.mark.parametrize("name", sorted(VALID))
def test_a_file_cut_anywhere_is_truncated(name: str) -> None:
    data = VALID[name]
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # as another library in the process may leave it
    try:
        wrong = [cut for cut in range(len(data)) if outcome(data[:cut], name=name) != ("IO-001", "IO-008")]
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    assert wrong == []


@pytest.mark.parametrize("name", sorted(VALID))
def test_what_stands_behind_the_end_of_a_picture_is_noted_and_nothing_else_is(name: str) -> None:
    policy = pixels_with(trailing_data_policy="accept")
    assert "trailing_data" not in decode(VALID[name], policy, name=name).notes
    assert "trailing_data" in decode(VALID[name] + b"x", policy, name=name).notes


@pytest.mark.parametrize("kept", [0, 1, 289, 289 * 32, 289 * 32 + 7, 289 * 63, 289 * 64 - 1])
def test_png_that_lost_rows_is_truncated_although_its_chunks_are_right(kept: int) -> None:
    rows = (b"\0" + b"\xc8" * 288) * 64
    assert outcome(raw_png(96, 64, 8, 2, rows)) == ()
    assert outcome(raw_png(96, 64, 8, 2, rows[:kept])) == ("IO-001", "IO-008")


def test_black_png_is_not_taken_for_one_that_lost_rows() -> None:
    for mode, size in (("RGB", (300, 200)), ("L", (31, 7)), ("1", (9, 9)), ("P", (5, 3)), ("RGBA", (64, 64))):
        assert outcome(encode(Image.new(mode, size, 0), "PNG")) == ()
    assert outcome(raw_png(1000, 1000, 16, 6, bytes(1000 * 8001))) == ()  # inflates in many steps
    data = zlib.compress(bytes(289 * 64))
    split = b"".join(png_chunk(b"IDAT", data[at : at + 5]) for at in range(0, len(data), 5))
    whole = raw_png(96, 64, 8, 2, b"")
    start, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    assert outcome(whole[:start] + split + whole[end:]) == ()


def _interlaced(width: int, height: int) -> tuple[bytes, bytes]:
    """Raw rows of all seven passes of a grey picture, level 200."""
    rows = b""
    for row, row_step, column, column_step in (
        (0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1),
    ):  # fmt: skip
        columns = len(range(column, width, column_step))
        rows += (b"\0" + b"\xc8" * columns) * len(range(row, height, row_step)) if columns else b""
    png = bytearray(raw_png(width, height, 8, 0, rows))
    png[28] = 1
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    return bytes(png), rows


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 31), (64, 64)])
def test_interlaced_png(size: tuple[int, int]) -> None:
    png, rows = _interlaced(*size)
    assert (levels(decode(png, PIXELS)) == 200).all()
    if len(rows) > 2:
        end = rows.rindex(b"\0")  # without its last row
        stream, short = zlib.compress(rows), zlib.compress(rows[:end])
        cut = png.replace(png_chunk(b"IDAT", stream), png_chunk(b"IDAT", short))
        assert cut != png
        assert outcome(cut) == ("IO-001", "IO-008")


def test_signatures_and_extensions() -> None:
    for name, data in VALID.items():
        assert sniff(data) == claimed_format(name)
    for image_format in ("GIF", "BMP", "TIFF"):
        data = encode(asymmetric(), image_format)
        assert sniff(data) == image_format
        assert outcome(data) == ("IO-002",)
        assert outcome(data, name=f"x.{image_format.lower()}") == ("IO-002",)
        assert outcome(data, name="x.jpg") == ("IO-006",)
    assert claimed_format("a.JPG") == claimed_format("b/c.jfif") == claimed_format("d.mpo") == "JPEG"
    assert claimed_format("photo") is claimed_format("x.unknown") is claimed_format(None) is None
    assert sniff(b"") is None
    assert not is_cut_signature(b"\x89PNX", "PNG")
    assert not is_cut_signature(b"GI", "GIF")


@pytest.mark.parametrize(("frames", "codes"), [(1, ()), (2, ("IO-005",))])
def test_a_png_is_animated_from_two_frames_on(frames: int, codes: tuple[str, ...]) -> None:
    data = encode(asymmetric(), "PNG")
    header = data.index(b"IDAT") - 4
    animated = png_chunk(b"acTL", frames.to_bytes(4, "big") + bytes(4))
    assert outcome(data[:header] + animated + data[header:]) == codes


def test_disguise_by_policy() -> None:
    jpeg = VALID["baseline.jpg"]
    assert outcome(jpeg, name="x.png") == ("IO-006",)
    assert outcome(jpeg, pixels_with(disguise_policy="accept"), name="x.png") == ()
    assert outcome(jpeg, pixels_with(accepted_formats=["PNG"])) == ("IO-002",)


def test_pixel_limit_is_judged_from_the_header() -> None:
    policy = pixels_with(max_pixels=65536)
    for image_format in ("JPEG", "PNG", "WEBP"):
        assert outcome(encode(Image.new("RGB", (256, 256)), image_format), policy) == ()
        assert outcome(encode(Image.new("RGB", (257, 256)), image_format), policy) == ("IO-004",)


def test_byte_limit() -> None:
    jpeg = VALID["baseline.jpg"]
    policy = pixels_with(max_bytes=len(jpeg))
    assert outcome(jpeg, policy) == ()
    assert outcome(jpeg + b"x", policy) == ("IO-003",)


def test_metadata_limit_counts_decompressed_bytes() -> None:
    policy = pixels_with(max_metadata_bytes=4096)
    for size, expected in ((4000, ()), (5000, ("IO-009",))):
        text = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(size)))
        assert outcome(raw_png(4, 4, 8, 2, bytes(52), text), policy) == expected
        plain = png_chunk(b"tEXt", b"k\0" + b"v" * size)
        assert outcome(raw_png(4, 4, 8, 2, bytes(52), plain), policy) == expected
        assert outcome(encode(asymmetric(), "JPEG", exif=b"Exif\0\0" + bytes(size)), policy) == expected
        assert outcome(encode(asymmetric(), "WEBP", exif=b"Exif\0\0" + bytes(size)), policy) == expected


def test_memory_need_orders_kinds_and_refuses_above_the_limit() -> None:
    side = 1000
    files = {
        "jpeg": encode(Image.new("RGB", (side, side)), "JPEG"),
        "progressive 4:2:0": encode(Image.new("RGB", (side, side)), "JPEG", progressive=True),
        "progressive 4:4:4": encode(Image.new("RGB", (side, side)), "JPEG", progressive=True, subsampling=0),
        "webp": encode(Image.new("RGB", (side, side)), "WEBP"),
    }
    needs = []
    for data in files.values():
        image_format = str(sniff(data))
        needs.append(decoding_bytes(walk(data, image_format, 10**6), image_format, 0, turned=False) // side**2)
    assert needs == [4, 7, 10, 14]
    fits = int((PIXELS.max_decode_bytes / 14) ** 0.5)
    assert fits * fits > 12_000_000, "a 12-megapixel WebP must be judged"
    assert outcome(encode(Image.new("RGB", (fits + 40, fits + 40)), "WEBP", method=0)) == ("IO-004",)


@pytest.mark.parametrize(("tag", "copies"), [(1, 1), (3, 2), (6, 2)])
def test_a_picture_that_is_turned_upright_is_held_twice(tag: int, copies: int) -> None:
    """Four bytes a pixel, and the file itself."""
    data = encode(Image.new("RGB", (700, 500)), "JPEG", exif=exif_with_orientation(tag))
    need = 4 * copies * 700 * 500 + len(data)
    assert outcome(data, pixels_with(max_decode_bytes=need)) == ()
    assert outcome(data, pixels_with(max_decode_bytes=need - 1)) == ("IO-004",)


def test_more_scans_than_any_encoder_writes_are_refused() -> None:
    jpeg = encode(Image.new("L", (64, 64), 90), "JPEG", progressive=True)
    start, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    before = jpeg.count(b"\xff\xda", 0, start)
    for scans, codes in ((before + 1, ()), (32, ()), (33, ("IO-001",)), (40, ("IO-001",))):
        assert outcome(jpeg[:start] + jpeg[start:end] * (scans - before) + jpeg[end:]) == codes


@pytest.mark.parametrize("restart", range(8))
def test_a_restart_marker_between_segments_has_no_length(restart: int) -> None:
    jpeg = VALID["baseline.jpg"]
    frame = jpeg.index(b"\xff\xc0")
    found = decode(jpeg[:frame] + bytes((0xFF, 0xD0 + restart)) + jpeg[frame:], PIXELS)
    assert (levels(found) == levels(decode(jpeg, PIXELS))).all()


def test_unreadable_paths(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.jpg", tmp_path / "zero\0byte.jpg", Path(os.devnull)):
        with pytest.raises(Rejected) as caught:
            read_file(path, PIXELS)
        assert caught.value.codes == (ReasonCode.UNREADABLE,)
    large = tmp_path / "large.jpg"
    with large.open("wb") as handle:
        handle.truncate(PIXELS.max_bytes + 1)
    with pytest.raises(Rejected) as caught:
        read_file(large, PIXELS)
    assert caught.value.codes == (ReasonCode.FILE_TOO_LARGE,)
    assert read_file(_written(tmp_path / "ok.jpg"), PIXELS) == VALID["baseline.jpg"]


def _written(path: Path) -> Path:
    path.write_bytes(VALID["baseline.jpg"])
    return path


def test_noise_is_never_a_picture() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 3, 8, 12, 100, 5000):
        for prefix in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP"):
            assert outcome(prefix + rng.bytes(size)) != ()


def test_a_turned_picture_is_held_to_what_its_copy_needs() -> None:
    """The same pixels decode within a limit as they are and not where they have to be turned."""
    image = asymmetric().resize((900, 700))
    upright = encode(image, "JPEG")
    turned = encode(image, "JPEG", exif=exif_with_orientation(6))
    between = pixels_with(max_decode_bytes=image.width * image.height * 9 // 2 + len(turned))
    assert outcome(upright, between) == ()
    assert outcome(turned, between) == ("IO-004",)
