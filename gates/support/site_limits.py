"""The limits of the contract's section ``serving``, each reached on a site that has small ones."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gates.support.site_process import PATIENCE, Later, SiteProcess, wait_until

# reached within seconds
SMALL: dict[str, float] = {
    "serving.max_concurrency": 1,
    "serving.max_queue": 1,
    "serving.burst": 3,
    "serving.requests_per_minute": 1,
    "serving.request_timeout": 3.0,
    "serving.max_connections": 8,
    "serving.drain_timeout": 20.0,
}
_BEGUN = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\nx"


def limits_not_held(start: Callable[[], SiteProcess], picture: bytes) -> list[str]:
    """Try every limit; names those that do not hold.

    Parameters
    ----------
    start : callable
        Starts a site with the limits of `SMALL`.
    picture : bytes
        A file that is judged.

    Returns
    -------
    list of str
        Limit and what was seen.
    """
    site = start()
    try:
        found = [] if len(site.workers()) == SMALL["serving.max_concurrency"] else ["serving.max_concurrency"]
        with _connect(site, "127.0.7.7") as slow:
            slow.sendall(_BEGUN)  # its time runs while the others are tried
            for check in (_rate, _connections, partial(_queue, picture=picture), partial(_time, slow=slow)):
                found += check(site)
        found += _drain(site, picture)  # stops the site
    finally:
        site.stop()
    return found


def _rate(site: SiteProcess) -> list[str]:
    statuses = [site.predict(b"x", client="127.0.9.9").status for _ in range(int(SMALL["serving.burst"]) + 1)]
    held = statuses[-1] == 429 and 429 not in statuses[:-1]
    return [] if held else [f"serving.burst, serving.requests_per_minute: {statuses}"]


def _connections(site: SiteProcess) -> list[str]:
    """Connections that send nothing may not keep others out, and no more than the limit stay open."""
    with contextlib.ExitStack() as open_ones:
        many = 2 * int(SMALL["serving.max_connections"])
        idle = [open_ones.enter_context(_connect(site, "127.0.8.8")) for _ in range(many)]
        answered = site.get("/healthz").status == 200
        left = sum(_is_open(connection) for connection in idle)
    held = answered and left <= SMALL["serving.max_connections"]
    return (
        [] if held else [f"serving.max_connections: {left} of {many} silent ones stayed, another answered: {answered}"]
    )


def _connect(site: SiteProcess, client: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), PATIENCE, (client, 0))


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        connection.recv(1)  # an end, or a refusal before it
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def _time(_site: SiteProcess, slow: socket.socket) -> list[str]:
    """A body that never ends is answered 408 and cut."""
    said = slow.recv(4096)
    return [] if said.startswith(b"HTTP/1.1 408") else [f"serving.request_timeout: {said[:20]!r}"]


def _queue(site: SiteProcess, picture: bytes) -> list[str]:
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    first = Later(lambda: site.predict(picture))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "the first request has the worker")
    second = Later(lambda: site.predict(picture))
    wait_until(lambda: site.metric("ecdd_queue_waiting") == 1, "the second one waits")
    third = site.predict(picture)
    worker.send_signal(signal.SIGCONT)
    statuses = (first.result().status, second.result().status, third.status)
    return [] if statuses == (200, 200, 503) and "retry-after" in third.headers else [f"serving.max_queue: {statuses}"]


def _drain(site: SiteProcess, picture: bytes) -> list[str]:
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    pending = Later(lambda: site.predict(picture))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "a request is in flight")
    site.process.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGCONT)
    seen = (pending.result().status, site.stop())
    return [] if seen == (200, 0) else [f"serving.drain_timeout: status and exit code {seen}"]


def small_site(contract: Path, bundle: Path) -> SiteProcess:
    """Start a site by a contract file."""
    return SiteProcess("--bundle", str(bundle), "--contract", str(contract))
