"""What the site tells its log, what it says when it fails, and that it says why it cannot start."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract
from ecdd.serving.headers import SECURITY_HEADERS, Guard
from ecdd.serving.judging_process import Judge
from ecdd.serving.server import make_server
from ecdd.serving.static_files import load_files
from ecdd.verdict import Verdict
from gates.support.asgi_call import LOCAL, answer_of
from gates.support.site_process import FORM, SiteProcess, form, wait_until
from gates.units.serving.conftest import STRICT


class SiteHere(SiteProcess):
    """A site in a thread of this process, with a log that a test can look into."""

    def __init__(self, port: int) -> None:
        self.port = port


@contextmanager
def site_with_log(judge: Judge, log: Any) -> Iterator[SiteHere]:
    server = make_server(judge, port=0, workers=1, log=log)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the site starts")
        yield SiteHere(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def test_log_takes_every_verdict_in_order_without_a_name(
    bundle: Bundle, contract: LoadedContract, portrait: bytes
) -> None:
    events: list[Verdict] = []
    judge = Judge(bundle, contract.with_values({**STRICT, "serving.burst": 50}))
    with site_with_log(judge, events.append) as site:
        site.predict(form(portrait, "secret-name.jpg"), "?detail=full", FORM)
        site.predict(b"nothing")
        site.predict(bytes(STRICT["pixel_pipeline.max_bytes"] + 1))
        site.predict(b"x", "?detail=all")  # no file was judged: no event
    assert [event.outcome for event in events] == ["judged", "rejected", "rejected"]
    assert [event.reason_codes for event in events[1:]] == [("IO-002",), ("IO-003",)]
    assert "secret-name" not in "".join(event.model_dump_json() for event in events)
    assert {event.path for event in events} == {""}


def test_a_log_that_fails_is_counted_and_stops_nothing(bundle: Bundle, portrait: bytes) -> None:
    def full(_verdict: Verdict) -> None:
        raise OSError("no space left")

    with site_with_log(Judge(bundle), full) as site:
        assert site.predict(portrait).status == 200
        wait_until(lambda: site.metric("ecdd_log_failures_total") == 1, "the failure is counted")


def test_a_log_that_hangs_does_not_fill_the_memory(
    bundle: Bundle, portrait: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecdd.serving.prediction._MAX_UNLOGGED", 2)
    goes_on = threading.Event()
    with site_with_log(Judge(bundle), lambda _verdict: goes_on.wait()) as site:
        assert {site.predict(portrait).status for _ in range(5)} == {200}
        assert site.metric("ecdd_log_failures_total") == 3
        goes_on.set()


def test_a_request_whose_time_ends_at_any_moment_gives_its_worker_back(
    bundle: Bundle, contract: LoadedContract, portrait: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Request.is_disconnected

    async def slow(request: Request) -> bool:
        await asyncio.sleep(600)
        return await original(request)

    judge = Judge(bundle, contract.with_values({"serving.request_timeout": 3.0}))
    with site_with_log(judge, None) as site:
        monkeypatch.setattr(Request, "is_disconnected", slow)
        answer = site.predict(portrait)
        assert (answer.status, answer.json["code"]) == (503, "time_out")
        monkeypatch.setattr(Request, "is_disconnected", original)
        assert site.metric("ecdd_workers_busy") == 0
        wait_until(lambda: site.predict(portrait).status == 200, "the worker is there for the next one")


def through_guard(app: Any, method: str = "GET", headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[Any]:
    return answer_of(Guard(app, (), lambda _status: None), method, headers=(LOCAL, *headers))


def test_an_exception_becomes_a_problem_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("private detail")

    start, body = through_guard(broken)
    problem = json.loads(body["body"])
    assert (start["status"], problem["code"]) == (500, "internal")
    assert "private" not in body["body"].decode()
    assert {name.encode() for name in SECURITY_HEADERS} <= {name for name, _ in start["headers"]}
    assert "private detail" in caplog.text, "the operator's log has it"


def test_a_connection_that_asks_first_is_not_used_again() -> None:
    async def fine(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    plain, asking = through_guard(fine), through_guard(fine, headers=((b"expect", b"100-continue"),))
    assert b"connection" not in dict(plain[0]["headers"])
    assert dict(asking[0]["headers"])[b"connection"] == b"close"


def test_a_site_that_cannot_start_says_why_in_a_line(bundle: Bundle, contract: LoadedContract, tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    contract.with_values({"quality_gates.low_quality_policy": "stricter_threshold"}).dump(path)
    with pytest.raises(AssertionError, match="did not start") as raised:
        SiteProcess("--contract", str(path))
    text = str(raised.value)
    assert "low_quality_policy" in text
    assert "Traceback" not in text


def test_page_files_are_a_table_of_names_with_tags(tmp_path: Path) -> None:
    for name in ("index.html", "app.js", "notes.txt", ".hidden.js.swp"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.js").mkdir()
    found = load_files(tmp_path)
    assert set(found) == {"index.html", "app.js", "reason_codes.js"}  # the last is made, not read
    assert re.fullmatch(r'"[0-9a-f]{32}"', found["app.js"].etag)
    assert set(load_files(tmp_path / "missing")) <= {"reason_codes.js"}
