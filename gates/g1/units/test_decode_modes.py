"""Every mode, depth, transparency and orientation against values computed from its definition with numpy."""

from __future__ import annotations

import io
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin

from ecdd.pipeline.decode import decode, decoder_fingerprint, frozen_decoder, other_libraries, s1_digest
from ecdd.pipeline.orientation import to_stored
from gates.support.made_pictures import (
    asymmetric,
    encode,
    exif_with_orientation,
    png_chunk,
    raw_png,
    stored_for,
    wide_gamut_profile,
)
from gates.support.pixel_policies import PIXELS, levels, outcome, pixels_with

STAGES = Path(__file__).resolve().parents[3] / "golden" / "stages"
RNG = np.random.default_rng(7)


def _sixteen_bit(colour: int, values: NDArray[np.uint16], extra: bytes = b"") -> bytes:
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values.reshape(height, -1))
    return raw_png(width, height, 16, colour, rows, extra)


def _over_white(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float64]:
    share = alpha[..., None].astype(float) / 255
    blended: NDArray[np.float64] = colour * share + 255 * (1 - share)
    return blended


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_give_their_high_byte_in_every_colour_type(colour: int, channels: int) -> None:
    values = RNG.integers(0, 65536, (300, 31, channels), dtype=np.uint16)  # more rows than one strip
    high = (values >> 8).astype(np.int64)
    got = decode(_sixteen_bit(colour, values), PIXELS)
    expected = np.repeat(high[..., :1], 3, axis=2) if channels < 3 else high[..., :3]
    if channels in (2, 4):
        assert np.abs(levels(got) - _over_white(expected, high[..., -1])).max() <= 0.51
    else:
        assert np.array_equal(levels(got), expected)
    assert "sixteen_bit" in got.notes


def test_sixteen_bit_grey_is_not_clipped() -> None:
    values = np.full((4, 4, 1), 0x4000, np.uint16)
    assert levels(decode(_sixteen_bit(0, values), PIXELS)).max() == 0x40


def test_sixteen_bit_transparent_level_is_compared_exactly() -> None:
    values = np.array([[[300], [301]]], np.uint16)
    got = levels(decode(_sixteen_bit(0, values, png_chunk(b"tRNS", struct.pack(">H", 300))), PIXELS))
    assert got[0, 0].tolist() == [255, 255, 255]
    assert got[0, 1].tolist() == [1, 1, 1]


def test_sixteen_bit_transparent_colour_is_refused_not_guessed() -> None:
    data = _sixteen_bit(2, np.zeros((2, 2, 3), np.uint16), png_chunk(b"tRNS", bytes(6)))
    assert outcome(data) == ("IO-007",)


def test_sixteen_bits_are_refused_by_the_other_policy() -> None:
    data = _sixteen_bit(0, np.zeros((2, 2, 1), np.uint16))
    assert outcome(data, pixels_with(sixteen_bit_policy="reject")) == ("IO-011",)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
@pytest.mark.parametrize("background", [[255, 255, 255], [0, 128, 7]])
def test_alpha_is_composited_over_the_background(image_format: str, background: list[int]) -> None:
    pixels = RNG.integers(0, 256, (300, 20, 4), dtype=np.uint8)
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    data = encode(Image.fromarray(pixels), image_format, **options)
    got = decode(data, pixels_with(alpha_background=background))
    share = pixels[..., 3:].astype(float) / 255
    expected = pixels[..., :3] * share + np.array(background) * (1 - share)
    assert np.abs(levels(got) - expected).max() <= 1
    assert "alpha_composited" in got.notes
    assert outcome(data, pixels_with(alpha_policy="reject")) == ("IO-007",)


def test_colours_hidden_under_full_transparency_never_show() -> None:
    hidden = np.zeros((8, 8, 4), np.uint8)
    hidden[..., 0] = 200
    picture = Image.fromarray(hidden)
    grey_alpha = Image.merge("LA", (Image.new("L", (8, 8), 90), Image.new("L", (8, 8), 0)))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    files = {
        "rgba": encode(picture, "PNG"),
        "la": encode(grey_alpha, "PNG"),
        "p index": encode(palette, "PNG", transparency=1),
        "p bytes": encode(palette, "PNG", transparency=b"\xff\x00"),
        "rgb key": encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        "l key": encode(Image.new("L", (8, 8), 77), "PNG", transparency=77),
        "webp": encode(picture, "WEBP", lossless=True, exact=True),
    }
    shown = {name: levels(decode(data, PIXELS)).min() for name, data in files.items()}
    assert shown == dict.fromkeys(files, 255)


def test_palette_without_transparency_keeps_its_colours() -> None:
    palette = asymmetric().quantize(32)
    got = decode(encode(palette, "PNG"), PIXELS)
    assert np.array_equal(levels(got), np.asarray(palette.convert("RGB")))
    assert got.notes == ("palette",)


def test_cmyk_by_policy() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    got = decode(data, PIXELS)
    assert np.abs(levels(got) - [255, 0, 0]).max() <= 8
    assert "cmyk" in got.notes
    assert outcome(data, pixels_with(cmyk_policy="reject")) == ("IO-012",)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
def test_eight_orientations_give_one_s1(image_format: str) -> None:
    upright = asymmetric(48, 32) if image_format != "JPEG" else asymmetric(48, 32).convert("L").convert("RGB")
    digests = set()
    for tag in range(1, 9):
        stored = stored_for(upright, tag)
        data = encode(stored, image_format, exif=exif_with_orientation(tag), lossless=True, quality=95)
        got = decode(data, PIXELS)
        assert (got.orientation, got.stored_size, got.image.size) == (tag, stored.size, upright.size)
        if image_format == "JPEG":  # blocks lie otherwise: near, not equal
            assert np.abs(levels(got) - np.asarray(upright)).mean() < 4
        else:
            digests.add(s1_digest(got.image))
        assert decode(data, pixels_with(exif_orientation="ignore")).image.size == stored.size
    assert image_format == "JPEG" or digests == {s1_digest(upright)}


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_orientation_before_conversion_equals_orientation_after(mode: str) -> None:
    picture = asymmetric(40, 24).convert(mode)
    plain = decode(encode(picture, "PNG"), PIXELS).image
    turned = decode(encode(stored_for(picture, 6), "PNG", exif=exif_with_orientation(6)), PIXELS).image
    assert s1_digest(turned) == s1_digest(plain)


@pytest.mark.parametrize("tag", range(1, 9))
def test_points_map_back_to_the_stored_picture(tag: int) -> None:
    stored = asymmetric(7, 5)
    data = encode(stored, "PNG", exif=exif_with_orientation(tag))
    upright = decode(data, PIXELS).image
    for x in range(upright.width):
        for y in range(upright.height):
            back = to_stored(x + 0.5, y + 0.5, tag, stored.size)
            assert upright.getpixel((x, y)) == stored.getpixel((int(back[0]), int(back[1])))


def test_rgb_picture_is_not_copied_for_orientation_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("copied")

    data = encode(asymmetric(), "JPEG")
    for name in ("transpose", "convert", "copy"):
        monkeypatch.setattr(Image.Image, name, refuse)
    assert decode(data, PIXELS).notes == ()


def test_profile_is_ignored_or_converted_by_policy() -> None:
    plain = asymmetric()
    tagged = encode(plain, "PNG", icc_profile=wide_gamut_profile())
    ignored = decode(tagged, PIXELS)
    assert np.array_equal(levels(ignored), np.asarray(plain))
    assert ignored.notes == ("icc_ignored",)
    converted = decode(tagged, pixels_with(icc_policy="convert_to_srgb"))
    assert np.abs(levels(converted) - np.asarray(plain)).max() > 50
    assert converted.notes == ("icc_converted",)
    broken = decode(encode(plain, "PNG", icc_profile=b"broken"), pixels_with(icc_policy="convert_to_srgb"))
    assert np.array_equal(levels(broken), np.asarray(plain))
    assert "icc_invalid" in broken.notes


def test_profile_conversion_keeps_the_composite() -> None:
    data = encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3), icc_profile=wide_gamut_profile())
    assert levels(decode(data, pixels_with(icc_policy="convert_to_srgb"))).min() >= 250


def test_multi_picture_file_gives_its_primary_picture() -> None:
    first, second = asymmetric(), Image.new("RGB", (96, 64), (0, 255, 0))
    data = encode(first, "MPO", save_all=True, append_images=[second], quality=95)
    got = decode(data, PIXELS, name="photo.jpg")
    assert {"mpo_primary_image", "trailing_data"} <= set(got.notes)
    assert np.abs(levels(got) - np.asarray(first)).mean() < 10


def test_trailing_data_by_policy() -> None:
    for image_format in ("JPEG", "PNG", "WEBP"):
        data = encode(asymmetric(), image_format)
        assert decode(data, PIXELS).notes == ()
        assert decode(data + b"more", PIXELS).notes == ("trailing_data",)
        assert outcome(data + b"more", pixels_with(trailing_data_policy="reject")) == ("IO-013",)


def test_quantisation_tables_come_from_the_file() -> None:
    data = encode(asymmetric(), "JPEG", quality=77)
    with Image.open(io.BytesIO(data)) as plain:
        assert isinstance(plain, JpegImagePlugin.JpegImageFile)
        expected = tuple(tuple(plain.quantization[key]) for key in sorted(plain.quantization))
    assert decode(data, PIXELS).quantisation_tables == expected
    assert decode(encode(asymmetric(), "PNG"), PIXELS).quantisation_tables is None


def test_jpeg_pixels_are_pillows_default_ones() -> None:
    for options in ({"quality": 90}, {"quality": 60, "progressive": True}, {"quality": 75, "subsampling": 0}):
        data = encode(asymmetric(301, 203), "JPEG", **options)
        with Image.open(io.BytesIO(data)) as plain:
            assert s1_digest(decode(data, PIXELS).image) == s1_digest(plain.convert("RGB"))


def test_s1_digest_sees_shape_and_pixels() -> None:
    picture = asymmetric(30, 600)
    same = s1_digest(picture.copy())
    assert s1_digest(picture) == same
    assert same.startswith("sha256-rgb-uint8-hwc-600x30:")
    assert s1_digest(picture.transpose(Image.Transpose.ROTATE_180)) != same
    picture.putpixel((29, 599), (0, 0, 1))
    assert s1_digest(picture) != same


def test_fingerprint_names_every_codec() -> None:
    found, frozen = decoder_fingerprint(), frozen_decoder(PIXELS.decoder_version)
    assert set(found) == set(frozen) == {"pillow", "libjpeg_turbo", "zlib", "webp"}
    stages = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(STAGES.glob("*.json"))]
    assert stages
    assert all(stage["decoder"] == frozen for stage in stages), "FROZEN_CODECS is not what froze the golden stages"
    assert other_libraries(frozen, frozen) == ""
    other = {**frozen, "libjpeg_turbo": "2.1.5"}
    assert other_libraries(other, frozen) == f"libjpeg_turbo 2.1.5, frozen with {frozen['libjpeg_turbo']}"
    assert other_libraries({}, {"pillow": "1.2.3"}) == "pillow unknown, frozen with 1.2.3"
    assert frozen_decoder("1.2.3") == {"pillow": "1.2.3"}


def test_no_warning_leaks_and_no_setting_is_left() -> None:
    broken_exif = encode(asymmetric(), "JPEG", exif=b"Exif\0\0" + bytes(range(99)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(broken_exif, PIXELS)
        decode(encode(asymmetric().quantize(4), "PNG", transparency=b"\0\1\2\3"), PIXELS)
        outcome(raw_png(60000, 60000, 8, 2, b""))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
