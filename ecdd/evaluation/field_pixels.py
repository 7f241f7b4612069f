"""What a picture's pixels suffer on the way to a file: ranges, matrices and palettes mistaken by a player or a phone.

Every function takes and gives an RGB picture of 8 bits a channel; none draws at random, so equal pixels stay equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# luma weights of red and blue, from ITU-R BT.601-7 and BT.709-6
_LUMA: Final = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}
_BLACK, _WHITE = 16, 235  # levels of black and white in video range
_SPAN: Final = _WHITE - _BLACK
_MIDDLE: Final = 127.5


def range_mistaken(image: Image, how: str) -> Image:
    """Video range (black 16, white 235) taken for full range, or full range for video range.

    Parameters
    ----------
    image : Image
        RGB, full range.
    how : {"video_as_full", "full_as_video"}
        The first washes out: 0 becomes 16 and 255 becomes 235. The second clips: 16 becomes 0 and 235 becomes 255.

    Returns
    -------
    Image
        RGB of the same size.
    """
    levels = _levels(image)
    if how == "video_as_full":
        return _picture(_BLACK + levels * _SPAN / 255)
    return _picture((levels - _BLACK) * 255 / _SPAN)


def matrix_mistaken(image: Image, how: str) -> Image:
    """YCbCr written with one standard's matrix and read with the other's, rounded to 8 bits between.

    Parameters
    ----------
    image : Image
        RGB.
    how : {"709_as_601", "601_as_709"}
        Written and read as.

    Returns
    -------
    Image
        RGB; greys stay as they are, saturated colours shift by up to some twenty levels.
    """
    written, read = how.split("_as_")
    forward, backward = _matrix(written), np.linalg.inv(_matrix(read))
    ycbcr = np.clip(np.rint(_levels(image) @ forward.T + (0, 128, 128)), 0, 255)
    return _picture((ycbcr - (0, 128, 128)) @ backward.T)


def _matrix(standard: str) -> NDArray[np.float64]:
    red, blue = _LUMA[standard]
    luma = np.array([red, 1 - red - blue, blue])
    unit = np.eye(3)
    return np.stack([luma, (unit[2] - luma) / (2 * (1 - blue)), (unit[0] - luma) / (2 * (1 - red))])


def grey(image: Image, _: object) -> Image:
    """Luma of BT.601 in all three channels."""
    return image.convert("L").convert("RGB")


def mirrored(image: Image, _: object) -> Image:
    """Left and right swapped, as front cameras store it."""
    from PIL.Image import Transpose

    return image.transpose(Transpose.FLIP_LEFT_RIGHT)


def turned(image: Image, degrees: int) -> Image:
    """Pixels turned anticlockwise by 90, 180 or 270 degrees, with no tag that says so."""
    from PIL.Image import Transpose

    turns = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
    return image.transpose(turns[degrees])


def rgb565(image: Image, _: object) -> Image:
    """5, 6 and 5 bits a channel, widened again by repeating the high bits."""
    levels = np.asarray(image, np.uint8)
    widened = [_widened(levels[..., channel], bits) for channel, bits in enumerate((5, 6, 5))]
    return _picture(np.stack(widened, axis=-1).astype(np.float64))


def _widened(channel: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    kept = channel >> (8 - bits)
    return np.asarray((kept << (8 - bits)) | (kept >> (2 * bits - 8)), np.uint8)


def dithered(image: Image, _: object) -> Image:
    """Black and white only, error diffused after Floyd and Steinberg."""
    return image.convert("1").convert("RGB")


def palette(image: Image, colours: int) -> Image:
    """The picture's own best colours by median cut, not dithered."""
    from PIL.Image import Dither, Quantize

    return image.quantize(colours, method=Quantize.MEDIANCUT, dither=Dither.NONE).convert("RGB")


def contrast(image: Image, factor: float) -> Image:
    """Distance from middle grey times a factor, clipped."""
    return _picture(_MIDDLE + (_levels(image) - _MIDDLE) * factor)


def _levels(image: Image) -> NDArray[np.float64]:
    return np.asarray(image, np.float64)


def _picture(levels: NDArray[np.float64]) -> Image:
    from PIL import Image

    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8), "RGB")


FIELD_STEPS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "range": range_mistaken,
    "matrix": matrix_mistaken,
    "grey": grey,
    "mirror": mirrored,
    "turn": turned,
    "rgb565": rgb565,
    "dither": dithered,
    "palette": palette,
    "contrast": contrast,
}
