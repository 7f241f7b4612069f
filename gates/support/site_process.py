"""The site as a process of its own, and a client that shows every byte of an answer."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
# before a command: the kernel refuses every byte to any file, in that process and all that it starts
NO_FILES = ("sh", "-c", 'ulimit -f 0 && exec "$@"', "site")
PATIENCE = 60.0  # seconds; never a promise, only the end of waiting on a busy machine
_PORT = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
# every request comes from another loopback address, so that the shipped limit of one client stays as it is
_CLIENTS = itertools.cycle(f"127.0.{k // 250}.{k % 250 + 2}" for k in range(10_000))


@dataclass
class Answer:
    """Status, headers (lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class SiteProcess:
    """A running ``ecdd serve``."""

    def __init__(self, *options: str, prefix: tuple[str, ...] = ()) -> None:
        command = [*prefix, sys.executable, "-m", "ecdd", "serve", "--port", "0", *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._news: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.port = self._wait_for_port()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._news.put(line)
        self._news.put(None)

    def _wait_for_port(self) -> int:
        while (line := self._news.get(timeout=PATIENCE)) is not None:
            if found := _PORT.search(line):
                return int(found.group(1))
        raise AssertionError("the site did not start:\n" + "".join(self.lines))

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def workers(self) -> list[psutil.Process]:
        """Worker processes, by age."""
        children = psutil.Process(self.process.pid).children()
        found = [child for child in children if any("spawn_main" in part for part in child.cmdline())]
        return sorted(found, key=lambda child: child.pid)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        client: str | None = None,
    ) -> Answer:
        """Send one request from a client of its own, and read the whole answer."""
        source = (client or next(_CLIENTS), 0)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE, source_address=source)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, None, headers)

    def predict(
        self,
        body: bytes | Iterator[bytes],
        query: str = "",
        headers: Mapping[str, str] | None = None,
        client: str | None = None,
    ) -> Answer:
        given = {"Content-Type": "application/octet-stream", **(headers or {})}
        return self.request("POST", f"/v1/predict{query}", body, given, client)

    def raw(self, data: bytes, *, finish: bool = False) -> bytes:
        """Send bytes as they are, as a new client, until the site closes; ``finish`` closes our direction first."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE, (next(_CLIENTS), 0)) as connection:
            with contextlib.suppress(ConnectionError):  # answered and closed before all was sent
                connection.sendall(data)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def metric(self, name: str) -> float:
        """One sample of /metrics."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the site and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()


def read_all(connection: socket.socket) -> bytes:
    """Read until the other end closes."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            found += piece
    return found


def form(content: bytes, name: str = "picture.jpg", field: str = "file", boundary: str = "b0undary") -> bytes:
    """A multipart body with one part."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()


FORM = {"Content-Type": "multipart/form-data; boundary=b0undary"}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that must happen."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s: {what}"
        time.sleep(0.02)


class Later:
    """A call in a thread; ``result`` waits for it."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._found: queue.Queue[Answer | Exception] = queue.Queue()
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def _run(self, call: Callable[[], Answer]) -> None:
        try:
            self._found.put(call())
        except Exception as error:  # noqa: BLE001 - raised where the result is taken
            self._found.put(error)

    def result(self) -> Answer:
        found = self._found.get(timeout=PATIENCE)
        if isinstance(found, Exception):
            raise found
        return found
