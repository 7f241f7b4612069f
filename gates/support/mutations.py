"""Seeded damage to files: flipped, cut, spliced, nested, and with what parsers stumble over."""

from __future__ import annotations

import random
import re
from typing import Final

# each has broken a parser somewhere: depth, no UTF-8, terminal escapes, numbers without end, tags, anchors, formulas
_TRAPS: Final = (
    b"[" * 3000, b"{" * 3000, b'{"a":' * 3000, b"\xff\xfe\x00", b"\xed\xa0\x80", b"\x00", b"\x1b]0;title\x07\x1b[2J",
    b"1e999", b"-1e999", b"NaN", b"Infinity", b"9" * 5000, b"!!bool x", b"!!int ''", b"!!python/object:os.system",
    b"&a [*a, *a]", b"<<: *x", b"2026-13-99", b"null", b"true", b"[]", b"{}", b'""', b"''", b"=1+1", b"@x", b"\t",
    b"\n---\n", b"\n...\n", b"../../../etc/passwd", b"/dev/zero", b"%s%n", b"\xe2\x80\xae", b"a" * 20_000,
)  # fmt: skip
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_.+-]+")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Damage a file in one to four places.

    Parameters
    ----------
    content : bytes
        A file as it should be.
    rng : random.Random
        Seeded.

    Returns
    -------
    bytes
        The damaged file; rarely the same.
    """
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _damage(data, rng)
    return bytes(data)


def _damage(data: bytearray, rng: random.Random) -> None:
    place, length = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    kind = rng.randrange(8)
    if kind == 0 and data:
        data[min(place, len(data) - 1)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + length]
    elif kind == 3:
        data[place:place] = rng.randbytes(length)
    elif kind == 4:
        data[place:place] = data[:length]
    elif kind == 5:
        data[place:place] = rng.choice(_TRAPS)
    elif kind == 6 and (tokens := list(_TOKEN.finditer(data[place : place + 4000]))):
        one = rng.choice(tokens)
        data[place + one.start() : place + one.end()] = rng.choice(_TRAPS)
    else:
        data[place : place + length] = rng.randbytes(length)
