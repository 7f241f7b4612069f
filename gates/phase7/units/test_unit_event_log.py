"""The log on SQLite: many writers, kills, full disks, damaged and foreign files, clocks that go backwards."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event as on

from ecdd.contract.schema import PolicyContract
from ecdd.monitoring import schema
from ecdd.monitoring.logger import EventLog, minute_of, time_of
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.playbook import check, reference_from_log
from ecdd.monitoring.summary import summarise
from ecdd.pipeline.reason_codes import ReasonCode
from gates.support.field_log import DAY, DIGEST, event
from gates.support.writers import problems, run_and_kill_one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def test_eight_writers_and_a_kill_lose_nothing(path: Path) -> None:
    committed, killed = run_and_kill_one(f"sqlite:///{path}")
    with EventLog(str(path)) as log:
        assert not problems(summarise(log).bundles, committed, killed)
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_keeps_what_was_committed_and_says_what_waits(path: Path) -> None:
    with EventLog(str(path), create=True) as log:
        log.append([event() for _ in range(100)])
        pages = sqlite3.connect(path).execute("PRAGMA page_count").fetchone()[0]
        on.listen(log._engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count={pages}"))
        log._engine.dispose()
        for _ in range(199):
            log.add(event())
        with pytest.raises(MonitoringError, match=r"the disk is full; free space, or purge.*199 events wait"):
            log.flush()
        assert log.count() == 100, "nothing half-written"
        on.listen(log._engine, "connect", lambda c, _: c.execute("PRAGMA max_page_count=100000"))
        log._engine.dispose()
        assert log.flush() == 199, "nothing lost: what waited is written when there is room again"
        assert (log.count(), log.waiting) == (299, 0)


def test_files_that_are_no_log(path: Path, tmp_path: Path) -> None:
    with pytest.raises(MonitoringError, match="there is no log; ecdd predict --log makes one"):
        EventLog(str(path))
    assert not path.exists(), "reading makes no file"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(MonitoringError, match="it is no SQLite database"):
        EventLog(str(path), create=True)
    assert path.read_bytes().startswith(b"no database"), "left as it was"
    foreign = tmp_path / "foreign.db"
    sqlite3.connect(foreign).execute("CREATE TABLE customers (x)")
    with pytest.raises(MonitoringError, match=r"holds customers and is no log; name another database"):
        EventLog(str(foreign), create=True)
    with pytest.raises(MonitoringError, match="its folder is missing"):
        EventLog(str(tmp_path / "nowhere" / "log.db"), create=True)


@pytest.mark.parametrize("url", ["mysql://h/x", "sqlite://", "sqlite:///:memory:", "://", "redis://:secret@h/0"])
def test_urls_that_are_no_log(url: str) -> None:
    with pytest.raises(MonitoringError) as caught:
        EventLog(url, create=True)
    assert "secret" not in str(caught.value)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="not tested here: psycopg, of the extra serve, is not installed")
    with pytest.raises(MonitoringError, match="cannot be reached") as caught:
        EventLog("postgresql://user:secret@127.0.0.1:1/name", create=True)
    assert "secret" not in str(caught.value)


def test_a_newer_or_changed_log_is_refused(path: Path) -> None:
    EventLog(str(path), create=True).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE ecdd_log SET format = 2")
    with pytest.raises(MonitoringError, match=r"\[2\] is of a newer program, this program reads 1"):
        EventLog(str(path), create=True)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE ecdd_log SET format = 1")
        raw.execute("ALTER TABLE ecdd_events ADD COLUMN thumbnail BLOB")
    with pytest.raises(MonitoringError, match="table ecdd_events is not that of a log"):
        EventLog(str(path))


def test_damage_inside_is_an_error_and_not_a_number(path: Path) -> None:
    with EventLog(str(path), create=True) as log:
        for _ in range(5):
            log.append([event() for _ in range(200)])
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[8 * 4096 :] = b"\xa5" * (len(content) - 8 * 4096)
    path.write_bytes(content)
    with pytest.raises(MonitoringError, match="damaged"), EventLog(str(path)) as log:
        summarise(log)


def test_a_clock_that_goes_backwards(path: Path, policy: PolicyContract) -> None:
    """Order is that of arrival; the report counts each event on the day that it names, and says so."""
    with EventLog(str(path), create=True) as log:
        for i in range(10):
            log.append([event(timestamp_minute=DAY - datetime.timedelta(days=i))])
        log.append([event(timestamp_minute=DAY + datetime.timedelta(days=4000))])
        summary = summarise(log)
        assert (summary.events, summary.backwards, len(summary.scores_by_day)) == (11, 9, 11)
        assert log.purge(policy.monitoring.retention_days, DAY) == 0
        assert log.count_after(DAY) == 1


def test_a_clock_is_ahead_by_more_than_a_day(path: Path) -> None:
    day = datetime.timedelta(days=1)
    with EventLog(str(path), create=True) as log:
        log.append([event(timestamp_minute=DAY + day)])
        assert log.count_after(DAY) == 0
        log.append([event(timestamp_minute=DAY + day + datetime.timedelta(minutes=1))])
        assert log.count_after(DAY) == 1


def test_purged_events_leave_the_file(path: Path, policy: PolicyContract) -> None:
    days, gone = policy.monitoring.retention_days, "d" * 64
    now = DAY + datetime.timedelta(days=days)
    with EventLog(str(path), create=True) as log:
        log.append([event(bundle_digest=gone, timestamp_minute=DAY - datetime.timedelta(minutes=1))] * 50)
        log.append([event(timestamp_minute=DAY)])
        assert gone.encode() in b"".join(f.read_bytes() for f in path.parent.iterdir())
        assert log.purge(days, now) == 50
        assert log.count() == 1, "exactly the retention is kept"
        assert gone.encode() not in b"".join(f.read_bytes() for f in path.parent.iterdir())
        log.append([event()])
        with log.reading() as connection:
            assert connection.exec_driver_sql("SELECT max(id) FROM ecdd_events").scalar() == 52, "no id is used twice"


def test_abstain_rates_are_shares_of_all_events(path: Path) -> None:
    def codes(*given: ReasonCode) -> Any:
        return event(label="abstain", reason_codes=tuple(str(code) for code in given), calibrated_probability=None)

    blur, small = ReasonCode.TOO_BLURRY, ReasonCode.FACE_TOO_SMALL
    with EventLog(str(path), create=True) as log:
        log.append([event()] * 4 + [codes(blur)] * 2 + [codes(small)] + [codes(blur, small)])
        rates = summarise(log).abstain_rates
    assert rates == [(str(blur), blur.meaning, 3, 3 / 8), (str(small), small.meaning, 2, 2 / 8)]


def test_events_of_unknown_bundles_are_kept_apart(path: Path, policy: PolicyContract) -> None:
    knobs, other = policy.monitoring, "e" * 64
    with EventLog(str(path), create=True) as log:
        log.append([event() for _ in range(600)])
        reference = reference_from_log(log, DIGEST, 1, knobs.drift_min_samples)
        log.append([event(bundle_digest=other, device_class="tablet") for _ in range(700)])
        assert set(summarise(log).bundles) == {DIGEST, other}
        done = check(log, reference, knobs, DAY)
        assert (done.events, done.other_bundles, done.judged) == (0, 700, False)
        with pytest.raises(MonitoringError, match="no event of bundle"):
            reference_from_log(log, "f" * 64, 1, knobs.drift_min_samples)


@given(st.text(min_size=1, max_size=80), st.sampled_from(sorted(set(schema.FIELDS) - {"reason_codes"})))
def test_no_field_takes_words(text: str, field: str) -> None:
    known = {*schema.LABELS, *schema.DEVICE_CLASSES, *schema.RESOLUTION_CLASSES}
    values = event().model_dump() | {field: text}
    try:
        kept = getattr(schema.checked_event(values), field)
    except MonitoringError:
        return
    # a number or a time that was written as text has become one
    assert not isinstance(kept, str) or kept in known


@given(
    p=st.none() | st.floats(0, 1),
    confidence=st.none() | st.floats(0, 1),
    quality=st.none() | st.floats(0, 100),
    codes=st.lists(st.sampled_from(list(ReasonCode)), min_size=1, max_size=4, unique=True),
    seconds=st.integers(0, 4 * 10**9),
)
def test_every_abstention_fits_its_columns(
    p: float | None, confidence: float | None, quality: float | None, codes: list[ReasonCode], seconds: int
) -> None:
    from ecdd.monitoring.logger import event_row

    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    one = event(calibrated_probability=p, label="abstain", reason_codes=codes, face_confidence=confidence,
                compression_proxy=quality, timestamp_minute=when)  # fmt: skip
    row = event_row(one, schema.FIELDS)
    assert row["timestamp_minute"] == seconds // 60
    assert time_of(minute_of(when)) == one.timestamp_minute
    assert row["reason_codes"].split() == [str(code) for code in codes]
    assert p is None or abs(row["calibrated_probability"] - p) <= 0.0005 + 1e-12


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "abstain"},
        {"label": "real", "calibrated_probability": None},
        {"reason_codes": ("GR-001",)},
        {"calibrated_probability": float("nan")},
        {"calibrated_probability": 1.2},
        {"timestamp_minute": DAY.replace(tzinfo=None)},
        {"bundle_digest": "A" * 64},
    ],
)
def test_events_that_contradict_themselves(changed: dict[str, Any]) -> None:
    with pytest.raises(MonitoringError, match="event refused"):
        event(**changed)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((255, 900), "under_256"), ((256, 256), "256_to_511"), ((4000, 2048), "from_2048"), (None, "unknown")],
)
def test_resolution_classes(size: tuple[int, int] | None, expected: str) -> None:
    assert schema.resolution_class(size) == expected
