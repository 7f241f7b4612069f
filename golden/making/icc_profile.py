"""A wide-gamut ICC profile made from its numbers: Display P3 primaries with the sRGB curve (ICC.1, version 2.4)."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

# Colorants adapted to D50 with the Bradford matrix, as in SMPTE EG 432-1 primaries with a D65 white
_COLORANTS: Final = {
    b"rXYZ": (0.515121, 0.241196, -0.001053),
    b"gXYZ": (0.291977, 0.692245, 0.041885),
    b"bXYZ": (0.157104, 0.066574, 0.784073),
}
_D50: Final = (0.9642, 1.0, 0.8249)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _text(kind: bytes, text: str) -> bytes:
    ascii_text = text.encode("ascii") + b"\0"
    if kind == b"text":
        return b"text\0\0\0\0" + ascii_text
    return b"desc\0\0\0\0" + struct.pack(">I", len(ascii_text)) + ascii_text + bytes(4 + 4 + 2 + 1 + 67)


def _srgb_curve() -> bytes:
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    samples: bytes = np.rint(linear * 65535).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + samples


def display_p3() -> bytes:
    """The profile's bytes; the same on every call, dated 1 January 2020."""
    tags = {
        b"desc": _text(b"desc", "P3 primaries, D65 white, sRGB curve"),
        b"cprt": _text(b"text", "No copyright, use freely"),
        b"wtpt": _xyz(_D50),
        **{name: _xyz(values) for name, values in _COLORANTS.items()},
    }
    curve = _srgb_curve()
    table, body = b"", b""
    start = 128 + 4 + 12 * (len(tags) + 3)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += padded
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        table += name + struct.pack(">II", start + len(body), len(curve))
    body += curve + bytes(-len(curve) % 4)
    size = start + len(body)
    date = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    header = struct.pack(">I", size) + bytes(4) + b"\x02\x40\0\0" + b"mntrRGB XYZ " + date + b"acsp" + bytes(28)
    header += b"".join(_fixed(value) for value in _D50)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags) + 3) + table + body
