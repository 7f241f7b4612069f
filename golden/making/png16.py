"""PNG with 16 bits a channel in RGB, which Pillow reads but does not write (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def rgb16(picture: NDArray[np.uint16]) -> bytes:
    """Encode a picture.

    Parameters
    ----------
    picture : ndarray of uint16, (H, W, 3)
        RGB, 0 … 65535.

    Returns
    -------
    bytes
        A PNG of colour type 2, depth 16; rows filtered with "up".

    Raises
    ------
    ValueError
        Another type or shape.
    """
    if picture.dtype != np.uint16 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"uint16 (H, W, 3) is expected, got {picture.dtype} {picture.shape}")
    height, width, _ = picture.shape
    rows = picture.astype(">u2").view(np.uint8).reshape(height, width * 6)
    above = np.vstack([np.zeros((1, width * 6), dtype=np.uint8), rows[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, dtype=np.uint8), rows - above])
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
