"""One check of a log: judge the latest events, store what fired so that it is reported once, name the response."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from sqlalchemy import Connection, Row, func, insert, select, update

from ecdd.contract.process_sections import Monitoring, PlaybookLevel
from ecdd.monitoring.drift_triggers import Finding, judge
from ecdd.monitoring.logger import EventLog, minute_of, time_of
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.reference import Reference, coded, reference_of
from ecdd.monitoring.tables import ALARMS, EVENTS
from ecdd.monitoring.triggers import TRIGGERS

# more sharpen the reference by less than the effect limits can see, and would have to be held in memory
_MOST_REFERENCE_EVENTS = 50_000
LEVELS: tuple[PlaybookLevel, ...] = get_args(PlaybookLevel)


@dataclass(frozen=True)
class Alarm:
    """A trigger that is firing.

    Attributes
    ----------
    trigger, level, step : str
        What fired and what the contract's playbook asks for.
    new : bool
        Found by this check; otherwise it was reported before and goes on.
    since : datetime
        When it was first found.
    """

    trigger: str
    level: PlaybookLevel
    step: str
    new: bool
    since: datetime.datetime


@dataclass(frozen=True)
class Check:
    """Outcome of one check.

    Attributes
    ----------
    findings : tuple of Finding
        Every trigger, whether it fires or not.
    alarms : tuple of Alarm
        Those that fire.
    cleared : tuple of str
        Triggers that were firing and are quiet now.
    events : int
        Events of the bundle that were read; at most ``max_detection_delay``.
    other_bundles : int
        Events of other bundles after the reference; kept in the log, compared with nothing.
    """

    findings: tuple[Finding, ...]
    alarms: tuple[Alarm, ...]
    cleared: tuple[str, ...]
    events: int
    other_bundles: int

    @property
    def judged(self) -> bool:
        """Whether any trigger had enough events."""
        return any(finding.judged for finding in self.findings)


def check(log: EventLog, reference: Reference, knobs: Monitoring, as_of: datetime.datetime) -> Check:
    """Compare the latest events with the reference.

    Parameters
    ----------
    log : EventLog
        Its latest ``max_detection_delay`` events of the reference's bundle are read.
    reference : Reference
        From `ecdd.monitoring.reference`.
    knobs : Monitoring
        The contract's section.
    as_of : datetime
        Time of the check, UTC; escalation counts from it.

    Returns
    -------
    Check
        Alarms are stored in the log; a second check finds them reported.

    Raises
    ------
    MonitoringError
        The log cannot be read or written.
    """
    with log.writing() as connection:
        rows = latest_events(connection, reference, knobs.max_detection_delay)
        other = _others(connection, reference)
        ids = np.array([row["id"] for row in rows], dtype=np.int64)
        findings = [
            _without_fields(finding, log.fields)
            for finding in judge(coded(rows, reference.score_edges), ids, reference, knobs)
        ]
        newest = int(ids[-1]) if len(ids) else 0
        alarms, cleared = [], []
        for finding in findings:
            last = _last(connection, reference, finding.trigger)
            going_on = last is not None and last.cleared_minute is None
            if finding.fires:
                alarms.append(_alarm(connection, reference, finding.trigger, last, knobs, as_of, newest))
            elif (
                going_on and last is not None and finding.judged and newest - last.last_event >= knobs.drift_min_samples
            ):
                _clear(connection, last, as_of)
                cleared.append(finding.trigger)
    return Check(tuple(findings), tuple(alarms), tuple(cleared), len(rows), other)


def latest_events(connection: Connection, reference: Reference, count: int) -> list[Any]:
    """Latest events of the reference's bundle in the order they arrived; the clock plays no part."""
    query = (
        select(EVENTS)
        .where(EVENTS.c.bundle_digest == reference.bundle_digest, EVENTS.c.id > reference.after_event)
        .order_by(EVENTS.c.id.desc())
        .limit(count)
    )
    return list(reversed(connection.execute(query).mappings().all()))


def _others(connection: Connection, reference: Reference) -> int:
    query = select(func.count()).where(
        EVENTS.c.bundle_digest != reference.bundle_digest, EVENTS.c.id > reference.after_event
    )
    return int(connection.execute(query).scalar_one())


def _without_fields(finding: Finding, fields: Sequence[str]) -> Finding:
    """Say that a trigger is not judged because the contract does not log what it reads."""
    missing = [name for name in TRIGGERS[finding.trigger].needs if name not in fields]
    if not missing:
        return finding
    why = f"monitoring.logged_fields lacks {', '.join(missing)}"
    return Finding(finding.trigger, False, False, 0.0, finding.log_needed, {}, 0, why)


def _last(connection: Connection, reference: Reference, trigger: str) -> Row[Any] | None:
    query = (
        select(ALARMS)
        .where(ALARMS.c.bundle_digest == reference.bundle_digest, ALARMS.c.trigger_name == trigger)
        .order_by(ALARMS.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).first()


def _alarm(
    connection: Connection, reference: Reference, trigger: Any, last: Row[Any] | None,  # noqa: ANN401
    knobs: Monitoring, as_of: datetime.datetime, newest: int,
) -> Alarm:  # fmt: skip
    """Store a trigger that began to fire; a firing that goes on stays as it was stored."""
    if last is not None and last.cleared_minute is None:
        return Alarm(trigger, last.level, knobs.playbook_steps[last.level], False, time_of(last.fired_minute))
    now, level = minute_of(as_of), knobs.playbook[trigger]
    if last is not None and now - last.fired_minute <= knobs.playbook_escalation_days * 24 * 60:
        level = LEVELS[min(LEVELS.index(last.level) + 1, len(LEVELS) - 1)]
    values = {"bundle_digest": reference.bundle_digest, "trigger_name": trigger, "level": level}
    connection.execute(insert(ALARMS).values(**values, fired_minute=now, last_event=newest))
    return Alarm(trigger, level, knobs.playbook_steps[level], True, time_of(now))


def _clear(connection: Connection, last: Row[Any], as_of: datetime.datetime) -> None:
    connection.execute(update(ALARMS).where(ALARMS.c.id == last.id).values(cleared_minute=minute_of(as_of)))


def reference_from_log(log: EventLog, bundle_digest: str, days: int, least: int) -> Reference:
    """Freeze the first days of a bundle's events as its reference.

    Parameters
    ----------
    log : EventLog
        Of the field.
    bundle_digest : str
        Payload digest of the bundle.
    days : int
        From the bundle's first event in the log on; of these at most 50 000 events.
    least : int
        The contract's ``monitoring.drift_min_samples``.

    Returns
    -------
    Reference
        The watch begins after the last event of these days.

    Raises
    ------
    MonitoringError
        Too few events.
    """
    mine = EVENTS.c.bundle_digest == bundle_digest
    with log.reading() as connection:
        begun = connection.execute(select(func.min(EVENTS.c.timestamp_minute)).where(mine)).scalar_one()
        if begun is None:
            msg = f"{log.name}: no event of bundle {bundle_digest[:16]}"
            raise MonitoringError(msg)
        within = EVENTS.c.timestamp_minute < begun + days * 24 * 60
        query = select(EVENTS).where(mine, within).order_by(EVENTS.c.id).limit(_MOST_REFERENCE_EVENTS)
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return reference_of(rows, bundle_digest, least, after_event=rows[-1]["id"])
