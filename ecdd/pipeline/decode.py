"""S0 and S1: from the bytes of a file to an upright RGB picture. The only decoder of training and inference.

Pillow decodes; this module decides what reaches it, and turns every mode into RGB by the contract's policies.
Nothing but `Rejected` leaves `decode`.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from PIL import Image, ImageFile, UnidentifiedImageError, WebPImagePlugin, features

from ecdd.contract.pixel_sections import PixelPipeline
from ecdd.pipeline.colour import strips, to_rgb
from ecdd.pipeline.file_structure import Structure, walk
from ecdd.pipeline.memory_need import check_memory
from ecdd.pipeline.orientation import read_orientation, upright
from ecdd.pipeline.png_stream import lost_rows
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from ecdd.pipeline.sniffing import VIDEOS, claimed_format, is_cut_signature, sniff

# By Pillow version: the codec libraries that the golden stages were frozen with. Any Pillow of the range in
# pyproject.toml decodes; evidence exists for the contract's alone.
FROZEN_CODECS: Final[Mapping[str, Mapping[str, str]]] = {
    "13.0.0": {"libjpeg_turbo": "3.2.0", "webp": "1.6.0", "zlib": "1.2.13"},
}
# The longest side that a JPEG header can say (WebP's is shorter). A PNG may say 25 million rows of one pixel in 49 kB:
# each costs a pointer, an aligned row and a step of the decoder, 660 MiB and 10 s in all.
MAX_SIDE: Final = 65535
_TRUNCATED: Final = (ReasonCode.CORRUPT_FILE, ReasonCode.TRUNCATED)
# What a person can do with a file of a kind that is not judged
_OTHER_WAYS: Final[Mapping[str, str]] = {
    "HEIF": ", as phones store photos: export it as JPEG, once and in full size",
    "AVIF": ": export it as JPEG or PNG, once and in full size",
    **dict.fromkeys(VIDEOS, ", a video: ecdd.frames judges its frames (experimental, extra video)"),
}
# `warnings.catch_warnings` changes what the whole process is warned of: threads decode one after the other
_WARNINGS: Final = threading.Lock()
# What Pillow's plugins raise on damaged input; MemoryError comes from sizes that lie.
_DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Decoded:
    """S0 and S1 of one picture.

    Attributes
    ----------
    image : Image
        S1: upright, mode RGB.
    format : str
        ``"JPEG"``, ``"PNG"`` or ``"WEBP"``; `ecdd.pipeline.given_pixels.GIVEN` for pixels that came without a file.
    n_bytes : int or None
        Size of the file; None for given pixels.
    sha256 : str or None
        S0: SHA-256 of the file's bytes; None for given pixels.
    stored_size : tuple of int
        Width and height before orientation, pixels.
    orientation : int
        EXIF orientation that was applied, 1 to 8.
    quantisation_tables : tuple of tuple of int, or None
        JPEG luminance and chrominance tables in the order that Pillow gives; None for PNG, WebP and given pixels.
    notes : tuple of str
        Sorted words on what was met: ``"alpha_composited"``, ``"cmyk"``, ``"exif_invalid"``, ``"icc_ignored"`` …
    """

    image: Image.Image
    format: str
    n_bytes: int | None
    sha256: str | None
    stored_size: tuple[int, int]
    orientation: int
    quantisation_tables: tuple[tuple[int, ...], ...] | None
    notes: tuple[str, ...]


def read_file(path: str | os.PathLike[str], policy: PixelPipeline) -> bytes:
    """Read a file, but not one that is too large.

    Parameters
    ----------
    path : path-like
        File to read.
    policy : PixelPipeline
        Gives ``max_bytes``.

    Returns
    -------
    bytes
        The file's bytes.

    Raises
    ------
    Rejected
        ``IO-010`` when it is missing, a directory, special or not readable; ``IO-003`` when it is too large.
    """
    try:
        place = Path(path)
        if place.exists() and not place.is_file():
            raise Rejected((ReasonCode.UNREADABLE,), "not a regular file")
        with place.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            data = b"" if size > policy.max_bytes else handle.read(policy.max_bytes + 1)
    except (OSError, ValueError) as error:
        raise Rejected((ReasonCode.UNREADABLE,), f"cannot be read: {type(error).__name__}") from error
    _check_bytes(max(size, len(data)), policy)
    return data


def _check_bytes(size: int, policy: PixelPipeline) -> None:
    if size > policy.max_bytes:
        raise Rejected((ReasonCode.FILE_TOO_LARGE,), f"{size} bytes, the limit max_bytes is {policy.max_bytes}")


def decode(data: bytes, policy: PixelPipeline, *, name: str | None = None) -> Decoded:
    """Decode a file to S1.

    Parameters
    ----------
    data : bytes
        The whole file.
    policy : PixelPipeline
        The contract's pixel section.
    name : str, optional
        File name; only its extension is used, to notice disguised files.

    Returns
    -------
    Decoded
        S0, S1 and what was met on the way.

    Raises
    ------
    Rejected
        With the reason codes; no other exception.
    """
    _check_bytes(len(data), policy)
    image_format = _checked_format(data, policy, name)
    structure = walk(data, image_format, policy.max_metadata_bytes)
    _check_structure(structure, len(data), policy)
    try:
        image, orientation, tables, notes = _decode_pixels(data, image_format, structure, policy)
    except Rejected:
        raise
    except _DECODE_ERRORS as error:
        codes = _TRUNCATED if "truncated" in str(error).lower() else (ReasonCode.CORRUPT_FILE,)
        raise Rejected(codes, f"{image_format} cannot be decoded: {error}"[:300]) from error
    if len(data) > structure.end:
        notes.add("trailing_data")
    return Decoded(
        image=image,
        format=image_format,
        n_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        stored_size=(structure.width, structure.height),
        orientation=orientation,
        quantisation_tables=tables,
        notes=tuple(sorted(notes)),
    )


def _checked_format(data: bytes, policy: PixelPipeline, name: str | None) -> str:
    if not data:
        raise Rejected(_TRUNCATED, "the file is empty")
    found, claimed = sniff(data), claimed_format(name)
    if found and claimed and found != claimed and policy.disguise_policy == "reject":
        raise Rejected((ReasonCode.DISGUISED,), f"the content is {found}, the extension says {claimed}")
    if found is None and claimed in policy.accepted_formats:
        codes = _TRUNCATED if is_cut_signature(data, str(claimed)) else (ReasonCode.CORRUPT_FILE,)
        raise Rejected(codes, f"the extension says {claimed}, the content is not")
    if found not in policy.accepted_formats:
        allowed = ", ".join(policy.accepted_formats)
        detail = f"format {found or 'unknown'}{_OTHER_WAYS.get(found or '', '')}; accepted are {allowed}"
        raise Rejected((ReasonCode.UNSUPPORTED_FORMAT,), detail)
    return str(found)


def _check_structure(structure: Structure, n_bytes: int, policy: PixelPipeline) -> None:
    if max(structure.width, structure.height) > MAX_SIDE:
        detail = f"{structure.width}x{structure.height} pixels, a side may have {MAX_SIDE}; send a smaller picture"
        raise Rejected((ReasonCode.TOO_MANY_PIXELS,), detail)
    pixels = structure.width * structure.height
    if pixels > policy.max_pixels:
        detail = f"{structure.width}x{structure.height} = {pixels} pixels, the limit max_pixels is {policy.max_pixels}"
        raise Rejected((ReasonCode.TOO_MANY_PIXELS,), detail)
    if structure.animated:
        raise Rejected((ReasonCode.ANIMATED,), "the picture has several frames; send one still picture")
    if n_bytes > structure.end and policy.trailing_data_policy == "reject":
        raise Rejected((ReasonCode.TRAILING_DATA_REJECTED,), f"{n_bytes - structure.end} bytes behind the picture")


def _decode_pixels(
    data: bytes, image_format: str, structure: Structure, policy: PixelPipeline
) -> tuple[Image.Image, int, tuple[tuple[int, ...], ...] | None, set[str]]:
    # A library in the same process may have switched this on; half a picture must never be judged.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    notes: set[str] = set()
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stored: Image.Image = Image.open(io.BytesIO(data), formats=[image_format])
        except UnidentifiedImageError as error:
            raise Rejected((ReasonCode.CORRUPT_FILE,), f"{image_format} header is not valid") from error
        if stored.size != (structure.width, structure.height):
            raise Rejected(
                (ReasonCode.CORRUPT_FILE,),
                f"two sizes: {stored.size} and {structure.width}x{structure.height}",
            )
        if stored.format == "MPO":
            notes.add("mpo_primary_image")
        tables = _quantisation_tables(stored)
        orientation = 1
        if policy.exif_orientation == "apply":
            orientation, valid = read_orientation(stored.info.get("exif"))
            if not valid:
                notes.add("exif_invalid")
        check_memory(structure, image_format, len(data), policy.max_decode_bytes, turned=orientation != 1)
        _release_after_first_frame(stored)
        stored.load()
        if image_format == "PNG" and lost_rows(data, structure, stored):
            raise Rejected(_TRUNCATED, "the PNG's compressed stream ends before the last row")
        # Turned before it becomes RGB: a grey picture is a quarter as large.
        stored = upright(stored, orientation)
        rgb = to_rgb(stored, structure.bits, policy, notes)
    return rgb, orientation, tables, notes


class _FrameDecoder(Protocol):
    def get_next(self) -> tuple[bytes, int] | None: ...


class _OneFrame:
    """Stands for a WebP decoder and lets go of it, with its two canvases, once the only frame is there."""

    def __init__(self, decoder: _FrameDecoder) -> None:
        self._decoder: _FrameDecoder | None = decoder

    def get_next(self) -> tuple[bytes, int] | None:
        """Give the only frame; None for every later call, as libwebp's decoder does."""
        decoder, self._decoder = self._decoder, None
        return decoder.get_next() if decoder is not None else None


def _release_after_first_frame(stored: Image.Image) -> None:
    # Pillow keeps the decoder until the picture is dropped: 8 bytes a pixel beside the picture itself.
    if isinstance(stored, WebPImagePlugin.WebPImageFile):
        stored._decoder = _OneFrame(stored._decoder)


def _quantisation_tables(stored: Image.Image) -> tuple[tuple[int, ...], ...] | None:
    tables: dict[int, list[int]] = getattr(stored, "quantization", {}) or {}
    return tuple(tuple(int(v) for v in tables[key]) for key in sorted(tables)) or None


def decoder_fingerprint() -> dict[str, str]:
    """Versions that decide the pixels of S1.

    Returns
    -------
    dict of str
        Pillow and the codec libraries that it was built with.
    """
    import PIL

    codecs = {"libjpeg_turbo": "libjpeg_turbo", "zlib": "zlib", "webp": "webp"}
    found = {"pillow": PIL.__version__}
    for key, feature in codecs.items():
        found[key] = str(features.version(feature) or "absent")
    return found


def frozen_decoder(decoder_version: str) -> dict[str, str]:
    """Libraries that a contract's golden stages were frozen with.

    Parameters
    ----------
    decoder_version : str
        ``pixel_pipeline.decoder_version``, the contract's Pillow.

    Returns
    -------
    dict of str
        Versions by library. Of a Pillow that is not in `FROZEN_CODECS` Pillow alone: its codec libraries are known to
        the golden set of that contract only, which experiment E1.3 asks.
    """
    return {"pillow": decoder_version, **FROZEN_CODECS.get(decoder_version, {})}


def other_libraries(found: Mapping[str, str], frozen: Mapping[str, str]) -> str:
    """Name the libraries of a decoder that are not those of the golden stages.

    Parameters
    ----------
    found, frozen : mapping of str to str
        Versions by library: of a process or of a run's record, and of the golden stages.

    Returns
    -------
    str
        Such as ``"pillow 12.3.0, frozen with 13.0.0"``; empty where all are the same. A missing version differs.
    """
    return "; ".join(
        f"{name} {found.get(name, 'unknown')}, frozen with {version}"
        for name, version in frozen.items()
        if found.get(name) != version
    )


def s1_digest(image: Image.Image) -> str:
    """Digest of S1; the name says algorithm, channel order, dtype, layout and shape.

    Parameters
    ----------
    image : Image
        S1, mode RGB.

    Returns
    -------
    str
        ``sha256-rgb-uint8-hwc-<height>x<width>:<hex>``.
    """
    digest = hashlib.sha256()
    for box in strips(image):  # no second copy of a 12-megapixel picture
        digest.update(image.crop(box).tobytes())
    return f"sha256-rgb-uint8-hwc-{image.height}x{image.width}:{digest.hexdigest()}"
