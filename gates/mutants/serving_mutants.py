"""Defects of the local site: a page that sends another picture, a server that changes or does not check the bytes.

The site runs in a process of its own, so those of the server are planted there: this module is then the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

_SERVER = "gates.mutants.serving_mutants"
# what a page does that shrinks, turns or "cleans" pictures before it sends them
_REENCODE = """
const really = Blob.prototype.arrayBuffer;
Blob.prototype.arrayBuffer = async function () {
  if (!(this instanceof File)) return really.call(this);
  const bitmap = await createImageBitmap(this);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return really.call(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 }));
};
"""


def client_reencodes() -> None:
    """The page draws the picture on a canvas and sends what the canvas saves; its digest is of that."""
    from gates.support import site

    site.SCRIPTS.append(_REENCODE)


def server_strips_metadata() -> None:
    """The server takes EXIF out of JPEGs after their digest was checked, "for privacy"."""
    _served_with(server_strips_metadata)


def digest_not_checked() -> None:
    """The server computes the digest, and compares it with nothing."""
    _served_with(digest_not_checked)


def _served_with(mutant: Callable[[], None]) -> None:
    from gates.support import site

    site.COMMAND[:] = [sys.executable, "-m", _SERVER, mutant.__name__]


def _without_app1(data: bytes) -> bytes:
    """A JPEG without its APP1 segments (EXIF, XMP); anything else as it is."""
    if data[:2] != b"\xff\xd8":
        return data
    kept, at = bytearray(data[:2]), 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xE1:
            kept += data[at:end]
        at = end
    return bytes(kept + data[at:])


def _strip_on_arrival() -> None:
    from ecdd.serving import prediction

    really = prediction.receive_upload

    async def planted(*given: object, **named: object) -> object:
        arrived = await really(*given, **named)
        arrived.data = bytearray(_without_app1(bytes(arrived.data)))
        return arrived

    prediction.receive_upload = planted


def _expect_nothing() -> None:
    from ecdd.serving import upload

    upload._expected_digest = lambda _request: None


_IN_THE_SERVER = {"server_strips_metadata": _strip_on_arrival, "digest_not_checked": _expect_nothing}

if __name__ == "__main__":
    _IN_THE_SERVER[sys.argv.pop(1)]()
    from ecdd.cli import main

    main()
