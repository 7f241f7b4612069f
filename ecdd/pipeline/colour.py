"""From any mode that Pillow decodes to RGB, by the contract's policies on alpha, depth, CMYK and profiles."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from ecdd.pipeline.reason_codes import ReasonCode, Rejected

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import PixelPipeline

_STRIP_PIXELS: Final = 2**20
SIXTEEN_BIT_GREY: Final = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def to_rgb(stored: Image.Image, bits: int, policy: PixelPipeline, notes: set[str]) -> Image.Image:
    """Turn a loaded picture into RGB.

    Parameters
    ----------
    stored : Image
        Loaded picture in any mode.
    bits : int
        Bits a channel, from the file's header.
    policy : PixelPipeline
        Policies on alpha, 16 bits, CMYK and ICC profiles.
    notes : set of str
        Words are added on what was met.

    Returns
    -------
    Image
        Mode RGB; the same object when it already was and nothing had to be done.

    Raises
    ------
    Rejected
        ``IO-007``, ``IO-011`` or ``IO-012`` where the policy refuses.
    """
    _note_mode(stored, bits, policy, notes)
    change: Callable[[Image.Image], Image.Image] | None = None
    if _has_alpha(stored):
        _check_alpha(stored, bits, policy)
        notes.add("alpha_composited")
        background = tuple(policy.alpha_background)
        change = lambda strip: _over(strip, background)  # noqa: E731
    if stored.mode in SIXTEEN_BIT_GREY:
        rgb = _by_strips(stored, partial(_sixteen_bit_grey, over=change))
    elif change is not None:
        rgb = _by_strips(stored, change)
    else:
        rgb = stored if stored.mode == "RGB" else stored.convert("RGB")
    return _apply_profile(stored, rgb, policy, notes)


def _check_alpha(stored: Image.Image, bits: int, policy: PixelPipeline) -> None:
    if policy.alpha_policy == "reject":
        raise Rejected((ReasonCode.ALPHA_REJECTED,), f"mode {stored.mode} with transparency; alpha_policy is reject")
    if bits == 16 and stored.mode == "RGB":
        # Pillow has dropped the low bytes by which the transparent colour differs from its neighbours.
        detail = "a transparent colour of 16 bits a channel cannot be told from similar ones; send it with 8 bits"
        raise Rejected((ReasonCode.ALPHA_REJECTED,), detail)


def _note_mode(stored: Image.Image, bits: int, policy: PixelPipeline, notes: set[str]) -> None:
    if bits > 8:
        if policy.sixteen_bit_policy == "reject":
            raise Rejected((ReasonCode.SIXTEEN_BIT_REJECTED,), f"{bits} bits a channel; sixteen_bit_policy is reject")
        notes.add("sixteen_bit")
    if stored.mode == "CMYK":
        if policy.cmyk_policy == "reject":
            raise Rejected((ReasonCode.CMYK_REJECTED,), "mode CMYK; cmyk_policy is reject")
        notes.add("cmyk")
    if stored.mode in ("P", "PA"):
        notes.add("palette")
    if stored.mode in ("1", "L", "LA", *SIXTEEN_BIT_GREY):
        notes.add("grey")
    if stored.info.get("icc_profile"):
        notes.add("icc_ignored")


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info


def strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows, top to bottom, of about a million pixels each, whatever the picture's shape."""
    rows = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _by_strips(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Make RGB strip by strip: the peak is one picture of the new mode, not three."""
    target = Image.new("RGB", image.size)
    for box in strips(image):
        strip = image.crop(box)
        strip.info.update({k: v for k, v in image.info.items() if k == "transparency"})
        target.paste(change(strip), box[:2])
    return target


def _over(strip: Image.Image, background: tuple[int, ...]) -> Image.Image:
    """Composite over the background; through RGBA, because P and LA would show colours hidden under alpha 0."""
    layer = strip if strip.mode == "RGBA" else strip.convert("RGBA")
    base = Image.new("RGBA", strip.size, (*background[:3], 255))
    base.alpha_composite(layer)
    return base.convert("RGB")


def _sixteen_bit_grey(strip: Image.Image, over: Callable[[Image.Image], Image.Image] | None) -> Image.Image:
    """16-bit grey to RGB; the transparent level, where the file names one, is compared in 16 bits."""
    grey = _high_byte(strip)
    if over is None:
        return grey.convert("RGB")
    alpha = np.where(np.asarray(strip) == strip.info["transparency"], 0, 255).astype(np.uint8)
    return over(Image.merge("LA", (grey, Image.fromarray(alpha))))


def _high_byte(strip: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by value // 256, what Pillow does to 16-bit colour; its own convert would clip."""
    values = np.asarray(strip).astype(np.int64)
    return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))


def _apply_profile(stored: Image.Image, rgb: Image.Image, policy: PixelPipeline, notes: set[str]) -> Image.Image:
    profile = stored.info.get("icc_profile")
    if not profile or policy.icc_policy == "assume_srgb":
        return rgb
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            stored if stored.mode in ("CMYK", "L") and not _has_alpha(stored) else rgb,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.add("icc_invalid")
        return rgb
    assert converted is not None
    notes.discard("icc_ignored")
    notes.add("icc_converted")
    return converted
