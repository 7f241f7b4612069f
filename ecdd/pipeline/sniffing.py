"""Which format a file is of, by its content; and which one its name claims."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

# Signatures from the formats' specifications; order matters only for RIFF and ISO media, which share a prefix.
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"8BPS", "PSD"),
    (b"\xff\x0a", "JXL"),
    (b"\x00\x00\x00\x0cJXL ", "JXL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG2000"),
    (b"\x1aE\xdf\xa3", "MKV"),  # WebM too
)
# major brands of still pictures among ISO media (ISO/IEC 23008-12); all others are films
_STILL_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"),
}
VIDEOS: Final = frozenset({"AVI", "MKV", "MP4"})
_EXTENSIONS: Final = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".mpo": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".pdf": "PDF",
    ".ico": "ICO",
    ".psd": "PSD",
    ".jxl": "JXL",
    ".jp2": "JPEG2000",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".avif": "AVIF",
    ".svg": "SVG",
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".3gp"), "MP4"),
    **dict.fromkeys((".mkv", ".webm"), "MKV"),
    ".avi": "AVI",
}


def sniff(data: bytes) -> str | None:
    """Name the format of a file by its first bytes.

    Parameters
    ----------
    data : bytes
        The file, or at least its first 64 bytes.

    Returns
    -------
    str or None
        ``"JPEG"``, ``"PNG"``, ``"WEBP"``, the name of another known format, or None when nothing is recognised.
    """
    head = data[:64]
    if head[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": "AVI"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _STILL_BRANDS.get(head[8:12], "MP4")
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.lstrip()[:4].lower() in (b"<svg", b"<?xm"):
        return "SVG"
    return None


def claimed_format(name: str | None) -> str | None:
    """Name the format that a file name's extension claims.

    Parameters
    ----------
    name : str or None
        File name or path; only its extension is read.

    Returns
    -------
    str or None
        Format name, or None without a known extension.
    """
    return _EXTENSIONS.get(PurePath(name).suffix.lower()) if name else None


def is_cut_signature(data: bytes, image_format: str) -> bool:
    """Whether a file ends inside the signature of a format.

    Parameters
    ----------
    data : bytes
        The whole file.
    image_format : str
        ``"JPEG"``, ``"PNG"`` or ``"WEBP"``; False for any other.

    Returns
    -------
    bool
        True when the bytes agree with the signature and are fewer.
    """
    if image_format == "WEBP":
        return len(data) < 12 and b"RIFF".startswith(data[:4]) and b"WEBP".startswith(data[8:])
    signatures = [signature for signature, name in _SIGNATURES if name == image_format in ("JPEG", "PNG")]
    return any(len(data) < len(signature) and signature.startswith(data) for signature in signatures)
