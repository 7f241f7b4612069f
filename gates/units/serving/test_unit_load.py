"""The load test's own parts: what it sends, how it judges, and a short run of each part against a real site."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gates.benchmarks.site_load.client import Message, addresses, send
from gates.benchmarks.site_load.measuring import Row, closed_loop, mixed, slow_loris
from gates.benchmarks.site_load.pictures import mixed_messages, speed_message
from gates.benchmarks.site_load.run import promises, table
from gates.support.site_process import SiteProcess


def test_a_third_is_malformed_in_every_way_and_the_same_each_time() -> None:
    made = mixed_messages(600)
    assert made == mixed_messages(600) != mixed_messages(600, seed=9)
    assert sum(one.malformed for one in made) == 200
    assert len({one.name for one in made if one.malformed}) == 13


def test_clients_differ() -> None:
    given = addresses()
    assert len({next(given) for _ in range(5000)}) == 5000


def test_every_malformed_kind_is_answered_and_refused(site: SiteProcess) -> None:
    kinds = {one.name: one for one in mixed_messages(600) if one.malformed}
    found = asyncio.run(closed_loop(site, list(kinds.values()), 4))
    statuses = {what.name: status for what, status, _ in found}
    assert set(statuses) == set(kinds)
    # bits flipped inside the pixels can leave a valid picture; all else is refused by its own status
    assert all(400 <= status < 500 for name, status in statuses.items() if name != "flipped"), statuses


def test_short_runs_answer_all(site: SiteProcess) -> None:
    storm = asyncio.run(mixed(site, 60, warm_up=10))
    assert (storm["requests"], storm["malformed"], storm["server_errors"], storm["unanswered"]) == (60, 20, 0, 0)
    assert sum(storm["statuses"].values()) == 60
    reply = asyncio.run(send(site.port, speed_message(), "127.0.200.1"))
    assert reply.status == 200


def test_slow_connections_do_not_stop_uploads(hasty_site: SiteProcess) -> None:
    slow = asyncio.run(slow_loris(hasty_site, connections=8, uploads=3, request_timeout=15.0))
    assert (slow["answered"], slow["connections"]) == (3, 8)


def test_a_closed_connection_is_no_answer() -> None:
    async def run() -> int:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            return (await send(server.sockets[0].getsockname()[1], Message(b"x"), "127.0.0.1")).status

    assert asyncio.run(run()) == 0


def _found(**changes: Row) -> Row:
    run = {"per_second": 50.0, "client_cpu": 0.0, "server_cpu": 0.1, "workers_cpu": 1.0, "others_cpu": 0.0}
    found: Row = {
        "latency": {"requests": 10, "statuses": Counter({200: 10}), "p50_ms": 20.0, "p90_ms": 30.0, "p99_ms": 50.0}
        | {"max_ms": 60.0, "pipeline_p50_ms": 15.0, "around_p10_ms": 1.0, "others_cpu": 0.0},
        "throughput": {"ratio": 1.7, "runs": {"1": [run], "2": [run]}},
        "mixed": {"requests": 10, "malformed": 3, "server_errors": 0, "growth_mb": 1.0, "workers_replaced": 0}
        | {"statuses": {"200": 10}, "deliberate_503": 0, "unanswered": 0, "resident_mb": [1.0, 2.0]},
        "slow": {"uploads": 5, "answered": 5, "open_meanwhile": 200, "last_cut_s": 15.0, "request_timeout_s": 15.0}
        | {"upload_p50_ms": 20.0, "upload_max_ms": 30.0},
    }
    return {name: {**part, **changes.get(name, {})} for name, part in found.items()}


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, 0),
        ({"latency": {"p50_ms": 26.0, "p99_ms": 121.0}}, 2),
        ({"latency": {"p50_ms": float("nan")}}, 1),
        ({"latency": {"statuses": {200: 9}}}, 1),
        ({"mixed": {"server_errors": 1, "growth_mb": 31.0, "workers_replaced": 1}}, 3),
        ({"slow": {"answered": 4, "open_meanwhile": 199, "last_cut_s": 40.0}}, 3),
    ],
)
def test_every_promise_can_be_missed(changes: dict[str, Row], missed: int) -> None:
    rows = promises(_found(**changes))
    assert sum(row["verdict"] == "fail" for row in rows) == missed


def test_a_ratio_below_the_promise_is_not_tested_only_where_cores_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    slow_pair = _found(throughput={"ratio": 1.2})
    assert [row["verdict"] for row in promises(slow_pair) if "two workers" in row["metric"]] == ["fail"]
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    found = promises(slow_pair)
    (row,) = [row for row in found if "two workers" in row["metric"]]
    assert row["verdict"] == "not tested"
    shown = table({"bundle": "0" * 64, "machine": {}, "promises": found, **slow_pair})
    assert "not tested: 1.00 cores were free" in shown
