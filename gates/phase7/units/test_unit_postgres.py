"""The log on a real PostgreSQL server: the same promises as on SQLite."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from ecdd.contract.schema import PolicyContract
from ecdd.monitoring.logger import EventLog
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.playbook import check, reference_from_log
from ecdd.monitoring.summary import summarise
from gates.support.field_log import DAY, DIGEST, event
from gates.support.postgres import NoServerError, running_server
from gates.support.writers import problems, run_and_kill_one


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server; in CI a missing one is a failure, elsewhere a skip that says why."""
    in_ci = os.environ.get("CI", "").lower() == "true"
    if not in_ci:
        pytest.importorskip("psycopg", reason="not tested here: psycopg, of the extra serve, is not installed")
    try:
        with running_server() as url:
            yield url
    except NoServerError as error:
        if in_ci:
            raise
        pytest.skip(f"not tested here: {error}")


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    name = request.node.name[:60]
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


def test_it_counts_as_sqlite_does(url: str, tmp_path: Path) -> None:
    events = [
        event(
            timestamp_minute=DAY + datetime.timedelta(days=i % 3, hours=i % 20),
            calibrated_probability=None if i % 4 == 0 else i % 100 / 100,
            label="abstain" if i % 4 == 0 or i % 3 == 0 else "real",
            reason_codes=("GR-001",) if i % 4 == 0 else ("MD-001", "GR-004") if i % 3 == 0 else (),
            face_confidence=None if i % 4 == 0 else 0.5 + i % 50 / 100,
            compression_proxy=None if i % 5 == 0 else float(i % 101),
            bundle_digest=DIGEST if i % 2 else "ab" * 32,
        )
        for i in range(500)
    ]
    found = []
    for where in (url, str(tmp_path / "log.db")):
        with EventLog(where, create=True) as log:
            assert log.append(events) == 500
            found.append(summarise(log))
    assert found[0] == found[1]
    assert found[0].events == 500


def test_eight_writers_and_a_kill_lose_nothing(url: str) -> None:
    committed, killed = run_and_kill_one(url)
    with EventLog(url) as log:
        assert not problems(summarise(log).bundles, committed, killed)


def test_purge_check_and_reference(url: str, policy: PolicyContract) -> None:
    knobs = policy.monitoring
    old, now = DAY, DAY + datetime.timedelta(days=knobs.retention_days + 1)
    with EventLog(url, create=True) as log:
        log.append([event(timestamp_minute=old) for _ in range(600)])
        reference = reference_from_log(log, DIGEST, 1, knobs.drift_min_samples)
        log.append([event(timestamp_minute=now, device_class="tablet") for _ in range(600)])
        assert log.purge(knobs.retention_days, now) == 600
        done = check(log, reference, knobs, now)
        assert [(alarm.trigger, alarm.new) for alarm in done.alarms] == [("device_shift", True)]
        assert not check(log, reference, knobs, now).alarms[0].new


def test_the_server_s_constraints_hold(url: str) -> None:
    with EventLog(url, create=True) as log:
        with pytest.raises(MonitoringError) as caught, log.writing() as connection:
            connection.execute(text("INSERT INTO ecdd_events (device_class) VALUES ('Annas phone')"))
        assert "Annas" not in str(caught.value)
        assert log.count() == 0


def test_foreign_tables_and_newer_formats_are_refused(url: str) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE ecdd_events (x int)"))
    with pytest.raises(MonitoringError, match="is no log"):
        EventLog(url, create=True)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE ecdd_events"))
    EventLog(url, create=True).close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE ecdd_log SET format = 7"))
    with pytest.raises(MonitoringError, match=r"\[7\] is of a newer program"):
        EventLog(url)
    engine.dispose()


def test_a_database_that_is_not_there(server: str) -> None:
    with pytest.raises(MonitoringError, match="does not know it"):
        EventLog(server.replace("/postgres?", "/nothing?"), create=True)
