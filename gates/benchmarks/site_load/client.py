"""An HTTP client on asyncio streams that costs little: the load test shares two cores with what it measures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = (
    "POST /v1/predict{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    "Content-Length: {length}\r\n{more}\r\n"
)


def addresses() -> Iterator[str]:
    """Give loopback addresses, 60,000 of them in turns: one is used far more seldom than a client may ask."""
    return itertools.cycle(f"127.1.{high}.{low}" for high in range(240) for low in range(2, 252))


@dataclass(frozen=True)
class Message:
    """Bytes of one request, and whether it was made to be refused."""

    data: bytes
    malformed: bool = False
    name: str = "picture"


def message(body: bytes, name: str = "picture", *, malformed: bool = False, **parts: str) -> Message:
    """Make a request for a verdict; ``query``, ``kind``, ``length`` and ``more`` (header lines) replace the usual."""
    usual = {"query": "", "kind": "image/jpeg", "length": str(len(body)), "more": ""}
    head = _HEAD.format(**{**usual, **parts})
    return Message(head.encode() + body, malformed, name)


@dataclass(frozen=True)
class Reply:
    """Status (0 where the connection was closed without an answer) and the answer's body."""

    status: int
    body: bytes = b""


async def send(port: int, what: Message, address: str) -> Reply:
    """Send one request on a connection of its own, as another client would, and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        with contextlib.suppress(ConnectionError):  # refused and closed before all was sent
            writer.write(what.data)
            await writer.drain()
        return await _read(reader)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Reply:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        return Reply(int(head.split(b" ", 2)[1]), await reader.readexactly(int(length.split(b":")[1])))
    except (ConnectionError, asyncio.IncompleteReadError):
        return Reply(0)
