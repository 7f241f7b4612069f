"""Tables of the log. Their constraints hold for every writer, also for one that does not use this program."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.schema import DEVICE_CLASSES, LABELS, RESOLUTION_CLASSES
from ecdd.pipeline.reason_codes import ReasonCode

FORMAT: Final = 1
METADATA: Final = MetaData()
_CODES_LENGTH: Final = 7 * len(ReasonCode)  # "GR-001 " for each


def _one_of(column: str, allowed: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in allowed)})", name=f"known_{column}")


def _between(column: str, low: int, high: int) -> CheckConstraint:
    return CheckConstraint(f"{column} BETWEEN {low} AND {high}", name=f"range_of_{column}")


class _Number(TypeDecorator[float]):
    """A column of numbers that gives nothing else: SQLite keeps a text there where another program wrote one."""

    impl = Float(53)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: object) -> float | None:  # noqa: ANN401, ARG002
        if value is not None and not isinstance(value, float | int):
            msg = f"ecdd_events holds {str(value)[:40]!r} where a number belongs; another program wrote it; delete it"
            raise MonitoringError(msg)
        return value


# SQLite counts only an INTEGER primary key up by itself; ids are never used twice, so they order a purged log too
_ID = BigInteger().with_variant(Integer, "sqlite")

LOG: Final = Table("ecdd_log", METADATA, Column("format", Integer, primary_key=True, autoincrement=False))

EVENTS: Final = Table(
    "ecdd_events",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("calibrated_probability", _Number),
    Column("label", String(7)),
    Column("reason_codes", String(_CODES_LENGTH)),
    Column("face_confidence", _Number),
    Column("resolution_class", String(16)),
    Column("compression_proxy", _Number),
    Column("bundle_digest", String(64)),
    Column("device_class", String(16)),
    Column("timestamp_minute", Integer, comment="minutes since 1970-01-01 UTC"),
    _between("calibrated_probability", 0, 1),
    _between("face_confidence", 0, 1),
    _between("compression_proxy", 0, 100),
    _one_of("label", LABELS),
    _one_of("resolution_class", RESOLUTION_CLASSES),
    _one_of("device_class", DEVICE_CLASSES),
    CheckConstraint("length(bundle_digest) = 64", name="length_of_bundle_digest"),
    CheckConstraint(f"length(reason_codes) <= {_CODES_LENGTH}", name="length_of_reason_codes"),
    Index("ecdd_events_by_bundle", "bundle_digest", "id"),
    Index("ecdd_events_by_minute", "timestamp_minute"),
    sqlite_autoincrement=True,
)

# a trigger that fired, so that it is reported once and can be escalated
ALARMS: Final = Table(
    "ecdd_triggers",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("bundle_digest", String(64), nullable=False),
    Column("trigger_name", String(32), nullable=False),
    Column("level", String(32), nullable=False),
    Column("fired_minute", Integer, nullable=False),
    Column("last_event", BigInteger, nullable=False, comment="id of the newest event when it fired"),
    Column("cleared_minute", Integer, comment="when it was found quiet again; null while it goes on"),
    sqlite_autoincrement=True,
)
