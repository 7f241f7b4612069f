"""One request to an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp

LOCAL = (b"host", b"localhost")


def answer_of(
    app: ASGIApp,
    method: str = "GET",
    target: str = "/",
    headers: Sequence[tuple[bytes, bytes]] = (LOCAL,),
    body: bytes = b"",
) -> list[Any]:
    """Messages of the answer: the start, and the body in pieces."""
    sent: list[Any] = []
    path, _, query = target.partition("?")

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": list(headers),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent
