"""Around every answer: security headers, the Host and Origin checks, and the last net under an exception."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecdd.serving.problems import MEDIA_TYPE, ServingError, busy

_LOG = logging.getLogger("ecdd.serving")
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
# name, IPv4 address or IPv6 address in brackets, and a port; no user, path, zone, escape or white space
_HOST: Final = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?", re.ASCII)
# of two values of these each program may take another one
_ONCE: Final = ("host", "origin", "sec-fetch-site", "content-type", "content-encoding", "x-content-sha256")


class Guard:
    """Outermost application.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    allowed_hosts : iterable of str
        Names (without port) that a Host header may have beside the loopback ones; ``"*"`` allows all. A page of
        another site that rebinds its name to 127.0.0.1 is refused this way.
    count : callable
        Called with the status of every answer.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str], count: Callable[[int], None]) -> None:
        self._app, self._count = app, count
        self._hosts = {host.lower().strip("[]") for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":

            async def send_without_trace(message: Message) -> None:
                message.pop("message", None)  # Starlette's trace of a failed start; the site has logged why
                await send(message)

            await self._app(scope, receive, send_without_trace)
            return
        started = False
        given = Headers(scope=scope)
        # no request can follow on this connection: a body that was not asked for may come or not, one of two lengths
        # may end elsewhere for another program
        ends = "expect" in given or ("transfer-encoding" in given and "content-length" in given)
        scope["app"] = self._app  # where an application is named, Starlette's router raises instead of answering itself

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if ends:
                    headers["connection"] = "close"
                self._count(message["status"])
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, send_with_headers)
        except ServingError as error:
            await _send_problem(error, send_with_headers)
        except asyncio.CancelledError:
            if started:
                raise
            problem = busy("stopping", "the site stops and cannot wait for this request any longer")
            await _send_problem(problem, send_with_headers)
        except Exception:
            if started:
                raise  # half an answer is out: the server closes the connection
            _LOG.exception("a request could not be answered")
            problem = ServingError(500, "internal", "the site failed on this request", "Report it with the site's log.")
            await _send_problem(problem, send_with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        _check_given_once(headers, scope["query_string"])
        host = headers.get("host", "")
        if not self._host_allowed(host):
            detail = "the Host header names none of this site's names"
            raise ServingError(421, "host_not_allowed", detail, "Start the site with --allow-host NAME to allow it.")
        if scope["method"] in _SAFE_METHODS:
            return
        origin, fetch_site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        same = origin is None or (urlsplit(origin).scheme in ("http", "https") and urlsplit(origin).netloc == host)
        if not same or fetch_site not in ("same-origin", "none"):
            detail = "a page of another site sent this request"
            raise ServingError(403, "cross_origin", detail, "Use this site's own page, or a program without Origin.")

    def _host_allowed(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower()
        if "*" in self._hosts or name in self._hosts or name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _check_given_once(headers: Headers, query: bytes) -> None:
    """Refuse a request that says a thing twice, and one whose body has two lengths."""
    if "transfer-encoding" in headers and "content-length" in headers:
        detail = "Transfer-Encoding and Content-Length together leave open where the body ends"
        raise ServingError(400, "two_lengths", detail, "Send one of them.")
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise ServingError(400, "repeated_header", f"the header {name} is given more than once", "Send it once.")
    keys = Counter(key for key, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if any(count > 1 for count in keys.values()):
        raise ServingError(400, "bad_query", "a key of the query is given more than once", "Send each key once.")


async def _send_problem(error: ServingError, send: Send) -> None:
    body = error.body()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **error.headers}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
