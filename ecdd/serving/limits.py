"""Abuse controls: requests of one client over time, requests that wait, memory that bodies take."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_MAX_CLIENTS: Final = 10_000  # buckets kept; about 2 MB
_ROUNDING: Final = 1e-9  # of a token: who waits as long as told is let in
_IPV6_PREFIX: Final = 64  # one customer has at least that many addresses


class TokenBuckets:
    """One bucket a client: ``burst`` requests at once, then ``per_minute`` evenly.

    Parameters
    ----------
    per_minute, burst : int
        Contract: ``serving.requests_per_minute``, ``serving.burst``.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_minute / 60.0, float(burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Take one token of a client.

        Parameters
        ----------
        address : str
            IP address; IPv6 counts by its /64 network.

        Returns
        -------
        int
            0 when the request may go on, else whole seconds until the next token.
        """
        client, now = client_key(address), self._clock()
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        missing = 1 - tokens
        wait = 0 if missing < _ROUNDING else max(1, math.ceil(missing / self._rate))
        self._buckets[client] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)  # seen longest ago
        return wait


def client_key(address: str) -> str:
    """Name what counts as one client."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or a test's client
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


class WaitingRoom:
    """Requests that were received whole and wait for a worker.

    Parameters
    ----------
    places : int
        Contract: ``serving.max_queue``.

    Attributes
    ----------
    waiting : int
        Requests inside.
    """

    def __init__(self, places: int) -> None:
        self.places, self.waiting = places, 0

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place while waiting; gives False when there is none."""
        if self.waiting >= self.places:
            yield False
            return
        self.waiting += 1
        try:
            yield True
        finally:
            self.waiting -= 1


class BodyMemory:
    """Bytes of bodies that are held at once, shared so that large ones give way to small ones.

    When all together exceed the budget, a body that holds more than an equal share is refused. Clients that fill the
    memory and stall therefore block other large files for a while, never a usual photograph.

    Parameters
    ----------
    budget : int
        Bytes.

    Attributes
    ----------
    held : int
        Bytes at this moment.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.held, self._bodies = budget, 0, 0

    @contextmanager
    def body(self) -> Iterator[Callable[[int], bool]]:
        """Hold one body; gives a function that adds bytes and says whether they may be held."""
        mine = 0
        self._bodies += 1

        def add(count: int) -> bool:
            nonlocal mine
            mine += count
            self.held += count
            return self.held <= self.budget or mine <= self.budget // self._bodies

        try:
            yield add
        finally:
            self._bodies -= 1
            self.held -= mine
