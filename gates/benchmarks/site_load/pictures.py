"""What the load test sends: golden pictures, and requests that are wrong in every way a client can be."""

from __future__ import annotations

import hashlib
import random
from typing import Final

from gates.benchmarks.site_load.client import Message, message
from gates.support.site_process import FORM, ROOT, form

GOLDEN: Final = ROOT / "golden"
SPEED_PICTURE: Final = GOLDEN / "in_scope" / "fake_generated_00.jpg"  # 512x512
_KINDS: Final = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def speed_message() -> Message:
    """The 512x512 JPEG, with its digest, as the page sends it."""
    data = SPEED_PICTURE.read_bytes()
    return message(data, query="?name_suffix=.jpg", more=f"X-Content-SHA256: {hashlib.sha256(data).hexdigest()}\r\n")


def mixed_messages(count: int, seed: int = 8) -> list[Message]:
    """Make requests, every third one malformed.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the order and of the damage.

    Returns
    -------
    list of Message
        The same for the same seed.
    """
    rng = random.Random(seed)  # noqa: S311 - a reproducible order, no secret
    files = sorted(path for path in GOLDEN.glob("*/*") if path.suffix in _KINDS and "sources" not in path.parts)
    contents = [(path.suffix, path.read_bytes()) for path in files]
    made = []
    for index in range(count):
        suffix, data = contents[rng.randrange(len(contents))]
        if index % 3 == 2:
            made.append(_malformed(rng, data))
        elif rng.random() < 0.5:
            made.append(message(data, kind=_KINDS[suffix], query=f"?name_suffix={suffix}"))
        else:
            made.append(message(form(data, f"x{suffix}"), kind=FORM["Content-Type"], query="?detail=full"))
    return made


def _malformed(rng: random.Random, data: bytes) -> Message:
    cut = data[: rng.randrange(1, len(data))]
    flipped = bytearray(data)
    for _ in range(20):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    wrong = hashlib.sha256(cut).hexdigest()
    octets = "application/octet-stream"
    choices = [
        message(cut, "cut", malformed=True),
        message(bytes(flipped), "flipped", malformed=True),
        message(rng.randbytes(5000), "noise", malformed=True, query="?name_suffix=.jpg"),
        message(b"", "empty", malformed=True, kind=octets),
        message(data, "disguised", malformed=True, query="?name_suffix=.gif"),
        message(data, "digest", malformed=True, more=f"X-Content-SHA256: {wrong}\r\n"),
        message(form(data)[:-30], "cut form", malformed=True, kind=FORM["Content-Type"]),
        message(data, "not a form", malformed=True, kind=FORM["Content-Type"]),
        message(data, "type", malformed=True, kind="text/html"),
        message(data, "query", malformed=True, query="?detail=all"),
        message(b"", "announced", malformed=True, length="99999999999"),
        Message(rng.randbytes(300) + b"\r\n\r\n", malformed=True, name="no HTTP"),
        Message(
            message(b"", more="Transfer-Encoding: chunked\r\n").data.replace(b"Content-Length: 0\r\n", b"")
            + b"xyz\r\n",
            malformed=True,
            name="chunks",
        ),
    ]
    return choices[rng.randrange(len(choices))]
