"""Defects in decoding: orientation, colour, depth, truncation, and decoders that are not the pinned one."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from ecdd.pipeline import colour, decode
from ecdd.pipeline.file_structure import Structure


def _change_rgb(change: Any) -> None:
    really = decode.to_rgb
    decode.to_rgb = lambda *arguments: change(really(*arguments))


def draft_decode() -> None:
    """Pillow's draft mode: the JPEG library decodes at half size, which is then enlarged again."""
    really = decode._decode_pixels

    def planted(data: bytes, image_format: str, structure: Structure, policy: Any) -> Any:
        image, orientation, tables, notes = really(data, image_format, structure, policy)
        if image_format == "JPEG":
            with Image.open(io.BytesIO(data)) as stored:
                stored.draft("RGB", (stored.width // 2, stored.height // 2))
                small = stored.convert("RGB").resize((structure.width, structure.height), Image.Resampling.BILINEAR)
            image = decode.upright(small, orientation)
        return image, orientation, tables, notes

    decode._decode_pixels = planted


def other_decoder() -> None:
    """A decoder that enlarges chroma by repeating pixels instead of interpolating them."""

    def plain_chroma(rgb: Image.Image) -> Image.Image:
        luma, blue, red = rgb.convert("YCbCr").split()
        half = ((rgb.width + 1) // 2, (rgb.height + 1) // 2)
        coarse = [
            plane.resize(half, Image.Resampling.BOX).resize(rgb.size, Image.Resampling.NEAREST) for plane in (blue, red)
        ]
        return Image.merge("YCbCr", (luma, *coarse)).convert("RGB")

    _change_rgb(plain_chroma)


def another_pillow() -> None:
    """An update of Pillow that no golden stage was frozen with."""
    really = decode.decoder_fingerprint
    decode.decoder_fingerprint = lambda: {**really(), "pillow": "0.0.0"}


def no_exif() -> None:
    """One of the decode paths forgot the orientation tag."""
    decode.upright = lambda image, _orientation: image


def double_exif() -> None:
    """The orientation is applied by the loader and again by the pipeline."""
    really = decode.upright
    decode.upright = lambda image, orientation: really(really(image, orientation), orientation)


def side_unbounded() -> None:
    """Pixels are counted, rows are not."""
    decode.MAX_SIDE = 2**31


def bgr() -> None:
    """OpenCV's channel order."""
    _change_rgb(lambda rgb: Image.fromarray(np.asarray(rgb)[..., ::-1].copy()))


def alpha_on_black() -> None:
    """Composited over black, where the contract says white."""
    really = colour._over
    colour._over = lambda strip, _background: really(strip, (0, 0, 0))


def alpha_dropped() -> None:
    """``convert("RGB")`` drops alpha and shows the colours hidden under it."""
    colour._over = lambda strip, _background: strip.convert("RGB")


def icc_other_policy() -> None:
    """Profiles applied where the contract ignores them, or the other way round."""
    really = decode.to_rgb

    def planted(stored: Image.Image, bits: int, policy: Any, notes: set[str]) -> Image.Image:
        other = "convert_to_srgb" if policy.icc_policy == "assume_srgb" else "assume_srgb"
        return really(stored, bits, policy.model_copy(update={"icc_policy": other}), notes)

    decode.to_rgb = planted


def sixteen_bit_cast() -> None:
    """16-bit grey cast to 8 bits: the high byte is lost and the low one shown."""
    colour._high_byte = lambda strip: Image.fromarray(np.asarray(strip).astype(np.uint8))


def truncated_accepted() -> None:
    """``LOAD_TRUNCATED_IMAGES`` left on, and no look at the file's structure."""

    def lenient(data: bytes, image_format: str, _limit: int) -> Structure:
        with Image.open(io.BytesIO(data), formats=[image_format]) as stored:
            return Structure(width=stored.width, height=stored.height, end=len(data))

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    decode.ImageFile = SimpleNamespace()  # type: ignore[assignment]
    decode.walk = lenient


def alpha_truncated() -> None:
    """The composite is cut to whole levels, where it is to be rounded: half a level darker everywhere."""

    def planted(strip: Image.Image, background: tuple[int, ...]) -> Image.Image:
        rgba = np.asarray(strip.convert("RGBA"), np.int64)
        share = rgba[..., 3:]
        levels = (rgba[..., :3] * share + np.asarray(background[:3]) * (255 - share)) // 255
        return Image.fromarray(levels.astype(np.uint8))

    colour._over = planted


def deep_grey_profile_unread() -> None:
    """The profile of a grey picture is followed where it has 8 bits and no transparency, as it once was."""
    colour._is_grey = lambda stored: stored.mode == "L" and not colour._has_alpha(stored)


def grey_profile_always_read() -> None:
    """The profile of a grey picture is followed whatever the policy says."""
    really = colour._apply_profile
    colour._apply_profile = lambda stored, rgb, policy, notes: really(
        stored, rgb, policy.model_copy(update={"icc_policy": "convert_to_srgb"}), notes
    )
