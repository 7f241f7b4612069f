"""Connections: a limit on their number, and a deadline for each request that slow clients cannot move.

uvicorn waits for the head of a request as long as the client likes. Here a connection whose request is not there whole
within ``serving.request_timeout`` is answered 408 and closed, one whose answer is not taken in as much time again is
cut, and when the site is full the longest waiting connection of the client with most of them makes room.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from ecdd.contract.process_sections import Serving
from ecdd.serving.headers import SECURITY_HEADERS
from ecdd.serving.limits import client_key
from ecdd.serving.problems import MEDIA_TYPE, ServingError, busy

_SLOW: Final = ServingError(408, "slow_request", "the request did not arrive in time", "Send it again.")
_LINGER_SECONDS: Final = 2.0
_FULL: Final = busy("connections_full", "the site has as many connections as it may")
_MALFORMED: Final = ServingError(400, "malformed_request", "this is no valid HTTP/1.1 request", "Correct it.")


def limited_protocol(serving: Serving, max_bytes: int) -> type[H11Protocol]:
    """Make the protocol class of one server.

    Parameters
    ----------
    serving : Serving
        Contract: ``max_connections``, ``request_timeout``.
    max_bytes : int
        Of a body that nobody reads any more (the answer is out), before the connection is cut.

    Returns
    -------
    type
        For ``uvicorn.Config(http=...)``; its connections are counted together.
    """

    class Limited(LimitedProtocol):
        limits = serving
        discard_limit = max_bytes
        open_connections: dict[LimitedProtocol, None] = {}  # noqa: RUF012 - shared by design, oldest first

    return Limited


class LimitedProtocol(H11Protocol):
    """One connection."""

    limits: Serving
    discard_limit: int
    open_connections: dict[LimitedProtocol, None]
    _timer: asyncio.TimerHandle | None = None
    _discarded = 0
    _draining = False
    _idle = True

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as uvicorn calls it
        super().__init__(config, *args, **kwargs)
        self.app_state = dict(self.app_state)  # this connection's own: holds when its request began

    @property
    def waiting(self) -> bool:
        """Whether the site waits for the client: no request, or one that is not whole."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or make room for it, or refuse it."""
        super().connection_made(transport)
        self._begin_request()
        if len(self.open_connections) >= self.limits.max_connections and not self._make_room():
            self._answer(_FULL)
            return
        self.open_connections[self] = None

    def _make_room(self) -> bool:
        waiting = [one for one in self.open_connections if one.waiting]
        if not waiting:
            return False
        clients = Counter(one.client_name for one in waiting)
        most = max(clients.values())
        oldest = next(one for one in waiting if clients[one.client_name] == most)
        self.open_connections.pop(oldest)
        oldest._answer(_FULL)
        return True

    @property
    def client_name(self) -> str:
        """What counts as one client."""
        return client_key(self.client[0]) if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.open_connections.pop(self, None)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones of a request start its time."""
        if self.transport.is_closing():
            return
        if self._idle:
            self._begin_request()
        if self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY:
            self._discarded += len(data)  # so that the client can finish and read the answer
            if self._discarded > self.discard_limit:
                self.transport.abort()
                return
        super().data_received(data)
        if self._draining and self.conn.their_state is not h11.SEND_BODY:
            self._draining = False
            self._begin_request()  # the rest of the refused body is here: the next request has its own time

    def _begin_request(self) -> None:
        self._idle, self._discarded = False, 0
        self.app_state["arrived"] = self.loop.time()
        self._stop_timer()
        self._timer = self.loop.call_later(self.limits.request_timeout, self._not_whole)

    def _not_whole(self) -> None:
        """Time is up: refuse what has no head yet; the application refuses bodies, and is given time to do so."""
        if self.cycle is None or self.cycle.response_complete:
            self._answer(_SLOW)
        else:
            self._timer = self.loop.call_later(self.limits.request_timeout, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn's keep-alive time-out holds until its first byte."""
        self._draining = self.conn.their_state is h11.SEND_BODY
        if not self._draining:
            self._stop_timer()
            self._idle = True
            self.app_state["arrived"] = self.loop.time()
        super().on_response_complete()
        if self._idle and not self.cycle.response_complete:
            self._begin_request()  # it had been sent ahead, before this answer

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose answer is still not taken is cut."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words may quote the request
        """Answer what is no HTTP, with the headers that all answers have."""
        self._answer(_MALFORMED)

    def _answer(self, error: ServingError) -> None:
        """Answer in the application's place, where no part of another answer is out, and close."""
        self._stop_timer()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # for the application the client is gone
                self.cycle.message_event.set()
            body = error.body()
            headers = {
                "content-type": MEDIA_TYPE,
                "content-length": str(len(body)),
                "connection": "close",
                "cache-control": "no-store",
                **SECURITY_HEADERS,
                **error.headers,
            }
            head = h11.Response(status_code=error.status, headers=list(headers.items()), reason=b"")
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)  # where the client does not take it
