"""How much memory decoding a picture needs, known from its header before any pixel is decoded.

A few hundred bytes may ask for 25 megapixels in the most expensive way. Bytes a pixel differ by a factor of three
between kinds of files, so the limit on pixels alone would either refuse ordinary photographs or let the process grow
beyond the 300 MiB that a picture may cost (E1.2); the rest of the process has 100 MiB of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecdd.pipeline.reason_codes import ReasonCode, Rejected

if TYPE_CHECKING:
    from ecdd.pipeline.file_structure import Structure

_RGB: Final = 4  # Pillow stores RGB, RGBA, LA and CMYK with four bytes a pixel
_COEFFICIENT: Final = 2  # libjpeg keeps all coefficients of a JPEG of several scans, as 16-bit numbers
_STRIP: Final = 0.5  # strips in work while a picture becomes RGB: measured
_WEBP: Final = 14  # two canvases of libwebp's animation decoder, the frame as bytes, and work space: measured


def decoding_bytes(structure: Structure, image_format: str, n_bytes: int, *, turned: bool) -> int:
    """Peak of what decoding holds at once.

    Parameters
    ----------
    structure : Structure
        What the walk found.
    image_format : {"JPEG", "PNG", "WEBP"}
        Format of the file.
    n_bytes : int
        Size of the file, which is held as well.
    turned : bool
        Whether the picture is turned upright, which copies it.

    Returns
    -------
    int
        Bytes.
    """
    stored: float = _RGB
    decoding: float = _RGB
    if image_format == "WEBP":
        decoding = _WEBP
    elif structure.channels == 1:
        stored = decoding = 2 if structure.bits == 16 else 1
    if image_format == "JPEG" and structure.staged:
        decoding = stored + _COEFFICIENT * structure.samples
    converted = stored + _RGB + _STRIP if structure.channels != 3 else stored
    peak = max(decoding, converted, 2 * stored if turned else stored)
    return int(structure.width * structure.height * peak) + n_bytes


def check_memory(structure: Structure, image_format: str, n_bytes: int, limit: int, *, turned: bool) -> None:
    """Refuse a picture that needs too much memory.

    Parameters
    ----------
    structure, image_format, n_bytes, turned
        As for `decoding_bytes`.
    limit : int
        ``max_decode_bytes`` of the contract.

    Raises
    ------
    Rejected
        ``IO-004``.
    """
    need = decoding_bytes(structure, image_format, n_bytes, turned=turned)
    if need > limit:
        detail = (
            f"{structure.width}x{structure.height} pixels of this kind of {image_format} need {need} bytes to decode, "
            f"the limit max_decode_bytes is {limit}; send a smaller picture"
        )
        raise Rejected((ReasonCode.TOO_MANY_PIXELS,), detail)
