"""Limits under attack: size, rate, queue, time, connections; and workers that die or hang."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ecdd.cli import app
from ecdd.contract.loading import LoadedContract
from ecdd.serving.limits import BodyMemory, TokenBuckets, WaitingRoom, client_key
from gates.support.site_process import FORM, PATIENCE, Later, SiteProcess, form, read_all, wait_until
from gates.units.serving.conftest import STRICT

LIMIT = STRICT["pixel_pipeline.max_bytes"]
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"


def pieces(total: int, size: int = 10_000) -> Iterator[bytes]:
    for start in range(0, total, size):
        yield bytes(min(size, total - start))


def connect(site: SiteProcess, client: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), PATIENCE, (client, 0))


def test_bodies_over_the_limit_are_refused_while_they_arrive(strict_site: SiteProcess) -> None:
    site = strict_site
    assert site.predict(bytes(LIMIT)).json["reason_codes"] != ["IO-003"]
    for answer in (
        site.predict(bytes(LIMIT + 1)),
        site.predict(pieces(LIMIT + 1)),  # chunked: no length is announced
        site.predict(form(bytes(LIMIT + 1)), headers=FORM),
        site.predict(form(bytes(2 * LIMIT)), headers=FORM),
    ):
        assert answer.status == 413
        assert (answer.json["outcome"], answer.json["reason_codes"]) == ("rejected", ["IO-003"])
        assert answer.json["received_bytes"] <= LIMIT
        assert str(LIMIT) in answer.json["detail"]
    announced = site.raw(HEAD + b"Content-Length: 10000000000\r\nConnection: close\r\n\r\n")
    assert announced.startswith(b"HTTP/1.1 413")
    assert b"10000000000 bytes" in announced
    waits = site.raw(HEAD + b"Content-Length: 10000000\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert waits.startswith(b"HTTP/1.1 413"), "a client that asks first is told before it sends"


def test_a_body_that_nobody_reads_ends_the_connection(strict_site: SiteProcess) -> None:
    endless = (b"2710\r\n" + bytes(10_000) + b"\r\n") * 10_000
    with connect(strict_site) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(endless)


def test_a_connection_goes_on_after_a_refused_body_and_with_requests_sent_ahead(
    strict_site: SiteProcess, portrait: bytes
) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    refused = HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + bytes(LIMIT + 1)
    judged = HEAD + b"Content-Length: %d\r\n\r\n" % len(portrait) + portrait
    found = strict_site.raw(refused + ask + judged + last)
    statuses = [found[at + 9 : at + 12] for at in range(len(found)) if found.startswith(b"HTTP/1.1 ", at)]
    assert statuses == [b"413", b"200", b"200", b"200"]


def test_pixels_over_the_limit_and_bombs_are_refused(site: SiteProcess) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(30_000_000), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    answer = site.predict(bomb)
    assert (answer.status, answer.json["reason_codes"]) == (413, ["IO-004"])


def test_a_client_that_asks_too_often_waits_and_others_do_not(strict_site: SiteProcess, portrait: bytes) -> None:
    burst = STRICT["serving.burst"]
    answers = [strict_site.predict(b"x", client="127.0.9.9") for _ in range(burst + 1)]
    assert [answer.status for answer in answers] == [415] * burst + [429]
    refused = answers[-1]
    assert refused.json["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert strict_site.predict(portrait).status == 200
    large = strict_site.predict(bytes(LIMIT // 2), client="127.0.9.9")
    assert large.status == 429, "refused before its body was read, and still answered"


def test_a_full_queue_is_answered_503(strict_site: SiteProcess, portrait: bytes) -> None:
    site = strict_site
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    first = Later(lambda: site.predict(portrait))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "the first request has the worker")
    second = Later(lambda: site.predict(portrait))
    wait_until(lambda: site.metric("ecdd_queue_waiting") == 1, "the second one waits")
    third = site.predict(portrait)
    assert (third.status, third.json["code"], third.headers["retry-after"]) == (503, "queue_full", "1")
    worker.send_signal(signal.SIGCONT)
    assert (first.result().status, second.result().status) == (200, 200)


def test_a_client_that_leaves_the_queue_costs_no_work(strict_site: SiteProcess, portrait: bytes) -> None:
    site = strict_site
    judged = site.metric("ecdd_pipeline_seconds_count")
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    first = Later(lambda: site.predict(portrait))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "the first request has the worker")
    with connect(site, "127.0.6.6") as leaving:
        leaving.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(portrait) + portrait)
        wait_until(lambda: site.metric("ecdd_queue_waiting") == 1, "the second one waits")
    worker.send_signal(signal.SIGCONT)
    assert first.result().status == 200
    wait_until(lambda: site.metric("ecdd_queue_waiting") == site.metric("ecdd_workers_busy") == 0, "nothing is left")
    assert site.metric("ecdd_pipeline_seconds_count") == judged + 1


def test_a_worker_that_dies_costs_its_own_request_only(strict_site: SiteProcess, portrait: bytes) -> None:
    site = strict_site
    replaced = site.metric("ecdd_workers_replaced_total")
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    pending = Later(lambda: site.predict(portrait))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "the request has the worker")
    worker.kill()
    answer = pending.result()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (answer.json["outcome"], answer.json["label"]) == ("error", "abstain")
    assert answer.json["reason_codes"] == ["SY-001"]
    assert answer.json["probability"] is None
    wait_until(lambda: site.get("/readyz").status == 200, "another worker is warm")
    assert site.predict(portrait).status == 200
    assert [one.pid for one in site.workers()] != [worker.pid]
    assert site.metric("ecdd_workers_replaced_total") == replaced + 1


def test_a_worker_that_dies_idle_costs_nothing(strict_site: SiteProcess, portrait: bytes) -> None:
    (worker,) = strict_site.workers()
    worker.kill()
    wait_until(lambda: strict_site.get("/readyz").status == 503, "the site notices")
    wait_until(lambda: strict_site.get("/readyz").status == 200, "another worker is warm, and no request asked for it")
    assert strict_site.predict(portrait).status == 200


def test_slow_requests_are_cut_at_every_stage(hasty_site: SiteProcess) -> None:
    site, start = hasty_site, time.monotonic()
    slow = {
        "nothing": b"",
        "half a head": HEAD[:40],
        "no body": HEAD + b"Content-Length: 1000\r\n\r\n",
        "half a body": HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(400),
        "half a form": HEAD.replace(b"image/jpeg", FORM["Content-Type"].encode())
        + b"Content-Length: 1000\r\n\r\n"
        + form(b"x")[:60],
    }
    connections = {name: connect(site) for name in slow}
    for name, data in slow.items():
        connections[name].sendall(data)
    for name, connection in connections.items():
        assert read_all(connection).startswith(b"HTTP/1.1 408"), name
        connection.close()
    assert time.monotonic() - start < PATIENCE  # every one was ended; how soon is measured by the load test
    with connect(site) as second:
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert second.recv(65536).startswith(b"HTTP/1.1 200")
        second.sendall(HEAD[:20])
        assert b"HTTP/1.1 408" in read_all(second)


def test_a_worker_that_hangs_is_ended(hasty_site: SiteProcess, portrait: bytes) -> None:
    (worker,) = hasty_site.workers()
    worker.send_signal(signal.SIGSTOP)
    answer = hasty_site.predict(portrait)
    assert answer.status == 503
    assert "retry-after" in answer.headers
    wait_until(lambda: hasty_site.get("/readyz").status == 200, "another worker is warm")
    wait_until(lambda: not worker.is_running(), "the one that hangs is gone")
    wait_until(lambda: hasty_site.predict(portrait).status == 200, "the new one judges")
    hasty_site.stop()
    assert "Traceback" not in hasty_site.output
    assert "never retrieved" not in hasty_site.output


def test_connections_over_the_limit_make_room(strict_site: SiteProcess, portrait: bytes) -> None:
    """The client that holds most slow connections loses its oldest; requests of others are answered."""
    limit = STRICT["serving.max_connections"]
    quiet = connect(strict_site, "127.0.7.7")
    slow = [connect(strict_site, "127.0.8.8") for _ in range(limit + 5)]
    for connection in slow:
        connection.sendall(HEAD[:30])
    assert strict_site.predict(portrait).status == 200
    assert read_all(slow[0]).startswith(b"HTTP/1.1 503")
    quiet.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert read_all(quiet).startswith(b"HTTP/1.1 200")
    for connection in (quiet, *slow):
        connection.close()


def test_a_request_in_flight_is_finished_when_the_site_stops(strict_site: SiteProcess, portrait: bytes) -> None:
    site = strict_site
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    pending = Later(lambda: site.predict(portrait))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "the request has the worker")
    site.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "Shutting down" in site.output, "the site begins to stop")
    os.kill(worker.pid, signal.SIGCONT)
    assert pending.result().status == 200
    assert site.process.wait(PATIENCE) == 0
    assert not worker.is_running()
    with pytest.raises(ConnectionError):
        connect(site)


def test_a_site_that_stops_waits_no_longer_than_it_may(
    contract: LoadedContract, own_bundle: tuple[str, ...], portrait: bytes, tmp_path: Path
) -> None:
    contract.with_values({"serving.drain_timeout": 1.0, "serving.request_timeout": 600.0}).dump(tmp_path / "c.yaml")
    site = SiteProcess(*own_bundle, "--contract", str(tmp_path / "c.yaml"), "--jobs", "1")
    (worker,) = site.workers()
    worker.send_signal(signal.SIGSTOP)
    pending = Later(lambda: site.predict(portrait))
    wait_until(lambda: site.metric("ecdd_workers_busy") == 1, "the request has the worker")
    assert site.stop() == 0
    answer = pending.result()
    assert (answer.status, answer.json["code"]) == (503, "stopping")
    assert not worker.is_running()
    assert "Traceback" not in site.output


def test_workers_end_with_a_site_that_is_killed(strict_site: SiteProcess) -> None:
    (worker,) = strict_site.workers()
    strict_site.process.kill()
    wait_until(lambda: _has_ended(worker), "the worker sees that its site is gone")


def _has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; who inherits a process may take seconds to collect it."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_taken_port_and_too_many_workers_are_refused(site: SiteProcess, strict_contract: Path) -> None:
    taken = subprocess.run(
        [sys.executable, "-m", "ecdd", "serve", "--port", str(site.port), "--jobs", "1"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert taken.returncode == 2
    assert "Traceback" not in taken.stderr
    many = CliRunner().invoke(app, ["serve", "--contract", str(strict_contract), "--jobs", "2"])
    assert many.exit_code == 2
    assert "max_concurrency" in many.output


@given(
    st.integers(1, 600),
    st.integers(1, 50),
    st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200),
)
def test_no_client_gets_more_than_its_bucket(per_minute: int, burst: int, pauses: list[float]) -> None:
    now = [0.0]
    buckets = TokenBuckets(per_minute, burst, clock=lambda: now[0])
    admitted = 0
    for pause in pauses:
        now[0] += pause
        wait = buckets.seconds_to_wait("192.0.2.1")
        admitted += wait == 0
        assert admitted <= burst + now[0] * per_minute / 60 + 1e-6
        if wait:
            now[0] += wait
            assert buckets.seconds_to_wait("192.0.2.1") == 0, "Retry-After keeps its promise"
            admitted += 1


def test_clients_are_networks_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1") != client_key("192.0.2.2")
    monkeypatch.setattr("ecdd.serving.limits._MAX_CLIENTS", 10)
    buckets = TokenBuckets(60, 1)
    for k in range(100):
        buckets.seconds_to_wait(f"192.0.2.{k}")
    assert len(buckets._buckets) == 10


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_memory_of_bodies_is_bounded_and_small_ones_pass(sizes: list[int]) -> None:
    from contextlib import ExitStack

    memory = BodyMemory(1000)
    with ExitStack() as stack:
        for size in sizes:
            fits = stack.enter_context(memory.body())(size)
            assert fits or size > 1000 // len(sizes)
            if memory.held <= 1000:
                assert fits
    assert memory.held == 0


def test_the_waiting_room_counts_who_leaves_by_an_error() -> None:
    room = WaitingRoom(1)
    with room.place() as first, room.place() as second:
        assert (first, second, room.waiting) == (True, False, 1)
    with pytest.raises(ValueError), room.place():  # noqa: PT011
        raise ValueError
    assert room.waiting == 0
