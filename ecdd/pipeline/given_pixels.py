"""Pixels that came without a file: an array, or an image of Pillow. They have no S0, and S1 is what was given."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from ecdd.pipeline.colour import SIXTEEN_BIT_GREY, to_rgb
from ecdd.pipeline.decode import MAX_SIDE, Decoded
from ecdd.pipeline.orientation import read_orientation, upright
from ecdd.pipeline.reason_codes import ReasonCode, Rejected

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import PixelPipeline

GIVEN: Final = "given"
NOTE: Final = "pixels_given"
_CHANNELS: Final = 3
_LOADING: Final = threading.Lock()  # an image that is still to be read has one file and one place in it


def check_pixels(source: Image.Image | np.ndarray[Any, Any]) -> None:
    """Refuse what is no picture by its kind; what is wrong with a picture is the verdict's to say.

    Parameters
    ----------
    source : Image or ndarray
        An image of Pillow in any mode of whole numbers, or an array of shape (H, W, 3), uint8, RGB.

    Raises
    ------
    TypeError
        Another dtype or shape, or an image of floating-point numbers.
    """
    if isinstance(source, Image.Image):
        if source.mode == "F":
            raise TypeError("an image of mode F has no known range; convert it to RGB with 8 bits a channel")
        return
    if source.dtype != np.uint8 or source.ndim != _CHANNELS or source.shape[2] != _CHANNELS:
        shape = "x".join(map(str, source.shape))
        raise TypeError(
            f"an array of shape {shape or '()'} and dtype {source.dtype}; a picture is (H, W, 3), uint8, RGB, 0 to 255"
        )


def given_pixels(source: Image.Image | np.ndarray[Any, Any], policy: PixelPipeline) -> Decoded:
    """S1 of given pixels.

    Parameters
    ----------
    source : Image or ndarray
        As `check_pixels` lets through. An EXIF orientation that an image still carries is applied, as for its file;
        alpha, depth and colours are treated as those of a file.
    policy : PixelPipeline
        The contract's pixel section.

    Returns
    -------
    Decoded
        Without bytes and digest; how the pixels were compressed before is unknown.

    Raises
    ------
    Rejected
        ``GR-006`` without any pixel, ``IO-004`` above the contract's limit, ``IO-001`` where Pillow cannot read the
        rest of the image, or as for a file.
    """
    notes = {NOTE}
    width, height = source.size if isinstance(source, Image.Image) else (source.shape[1], source.shape[0])
    if not width * height:
        raise Rejected((ReasonCode.RESOLUTION_TOO_LOW,), f"{width}x{height} pixels")
    if width * height > policy.max_pixels or max(width, height) > MAX_SIDE:
        detail = f"{width}x{height} pixels, the limit max_pixels is {policy.max_pixels}, that of a side {MAX_SIDE}"
        raise Rejected((ReasonCode.TOO_MANY_PIXELS,), detail)
    if not isinstance(source, Image.Image):
        return _decoded(Image.fromarray(np.ascontiguousarray(source)), (width, height), 1, notes)
    try:
        with _LOADING:
            source.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Rejected((ReasonCode.CORRUPT_FILE,), f"the image cannot be read: {error}"[:300]) from error
    orientation = 1
    if policy.exif_orientation == "apply":
        orientation, valid = read_orientation(source.info.get("exif"))
        if not valid:
            notes.add("exif_invalid")
    bits = 16 if source.mode in SIXTEEN_BIT_GREY else 8
    rgb = to_rgb(upright(source, orientation), bits, policy, notes)
    return _decoded(rgb, (width, height), orientation, notes)


def _decoded(image: Image.Image, stored: tuple[int, int], orientation: int, notes: set[str]) -> Decoded:
    return Decoded(image, GIVEN, None, None, stored, orientation, None, tuple(sorted(notes)))
