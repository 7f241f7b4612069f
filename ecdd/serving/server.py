"""uvicorn around the application: one process that serves, and its workers."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import uvicorn

from ecdd.serving.app import create_app
from ecdd.serving.connections import limited_protocol
from ecdd.serving.judging_process import Judge
from ecdd.serving.prediction import EventLog

if TYPE_CHECKING:
    from ecdd.dataset_governance.manual_review import ReviewStore

_KEEP_ALIVE_SECONDS: Final = 5
_MAX_HEAD_BYTES: Final = 16 * 1024


def make_server(
    judge: Judge,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int | None = None,
    log: EventLog | None = None,
    review: ReviewStore | None = None,
    allowed_hosts: Iterable[str] = (),
    device: Mapping[str, bytes] | None = None,
) -> uvicorn.Server:
    """Make the server of the site.

    Parameters
    ----------
    judge : Judge
        Bundle and contract, both checked.
    host : str
        Address to listen on.
    port : int
        0 for a free one.
    workers : int, optional
        Worker processes; the contract's ``serving.max_concurrency`` where not given.
    log : callable, optional
        Takes every verdict.
    review : ReviewStore, optional
        Takes pictures that a person agreed to have reviewed.
    allowed_hosts : iterable of str
        Host names beside the loopback ones.
    device : mapping of str to bytes, optional
        Files of a page that judges in the browser.

    Returns
    -------
    uvicorn.Server
        Not started.
    """
    policy = judge.in_force.policy
    config = uvicorn.Config(
        create_app(judge, workers, log, review, allowed_hosts, device),
        host=host,
        port=port,
        http=limited_protocol(policy.serving, policy.pixel_pipeline.max_bytes),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="info",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(policy.serving.drain_timeout),
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server) -> bool:
    """Serve until SIGTERM or SIGINT, then finish what is begun.

    Parameters
    ----------
    server : uvicorn.Server
        Of `make_server`.

    Returns
    -------
    bool
        Whether the site ever started.
    """
    # a worker is single threaded; idle threads of numpy would only cost start-up time
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # uvicorn raises the signal again after a graceful end; that end is a success
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        server.run()
    except SystemExit:  # uvicorn has said why: the address is taken, or the workers could not be started
        return False
    return bool(server.started)
