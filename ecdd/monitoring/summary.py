"""Everything of E7.1 rebuilt from the log alone: counts by day, reason, quality, device and bundle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Integer, cast, func, select

from ecdd.monitoring.logger import EventLog, time_of
from ecdd.monitoring.schema import DEVICE_CLASSES, LABELS, RESOLUTION_CLASSES
from ecdd.monitoring.tables import EVENTS
from ecdd.monitoring.triggers import COMPRESSION_CLASSES, compression_class
from ecdd.pipeline.reason_codes import ReasonCode

SCORE_BINS: Final = 20
CONFIDENCE_BINS: Final = 10
_DAY: Final = 24 * 60
_NOT_LOGGED: Final = "not logged"


@dataclass(frozen=True)
class LogSummary:
    """What a log says.

    Attributes
    ----------
    events : int
        All of them.
    first_minute, last_minute : str
        Earliest and latest time, UTC; empty for an empty log.
    backwards : int
        Events that are earlier than the one stored before them by more than an hour: a clock was set back, or a device
        delivered late.
    scores_by_day : dict
        Day to `SCORE_BINS` counts of the calibrated probability, equal steps from 0 to 1.
    without_score_by_day : dict
        Day to events without a probability.
    labels_by_day : dict
        Day to label to events.
    reasons : dict
        Reason code to events that carry it; an event may carry several.
    reasons_by_day : dict
        Day to reason code to events.
    face_confidence : dict
        Step of 0.1 to events; ``no face`` apart.
    compression : dict
        Class of estimated JPEG quality to events; of pictures with a face.
    resolution, device : dict
        Class to events.
    bundles : dict
        Payload digest to label to events.
    """

    events: int
    first_minute: str
    last_minute: str
    backwards: int
    scores_by_day: dict[str, list[int]]
    without_score_by_day: dict[str, int]
    labels_by_day: dict[str, dict[str, int]]
    reasons: dict[str, int]
    reasons_by_day: dict[str, dict[str, int]]
    face_confidence: dict[str, int]
    compression: dict[str, int]
    resolution: dict[str, int]
    device: dict[str, int]
    bundles: dict[str, dict[str, int]]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def abstain_rates(self) -> list[tuple[str, str, int, float]]:
        """Code, meaning, events and rate over all events, the most frequent first."""
        known = {str(code): code.meaning for code in ReasonCode}
        rows = [(code, known.get(code, ""), n, n / self.events) for code, n in self.reasons.items()]
        return sorted(rows, key=lambda row: (-row[2], row[0]))


def summarise(log: EventLog) -> LogSummary:
    """Count a log.

    Parameters
    ----------
    log : EventLog
        May be empty; events of every bundle are counted.

    Returns
    -------
    LogSummary
        From one consistent state of the log.

    Raises
    ------
    MonitoringError
        It cannot be read.
    """
    with log.reading() as connection:
        total, first, last = connection.execute(
            select(func.count(), func.min(EVENTS.c.timestamp_minute), func.max(EVENTS.c.timestamp_minute))
        ).one()
        days = _by_day(connection)
        return LogSummary(
            events=total,
            first_minute="" if first is None else _text(first),
            last_minute="" if last is None else _text(last),
            backwards=_backwards(connection),
            **days,
            face_confidence=_confidences(connection),
            compression=_compressions(connection),
            resolution=_classes(connection, EVENTS.c.resolution_class, RESOLUTION_CLASSES),
            device=_classes(connection, EVENTS.c.device_class, DEVICE_CLASSES),
            bundles=_bundles(connection),
        )


def _text(minute: int) -> str:
    return time_of(minute).strftime("%Y-%m-%d %H:%M")


def _grouped(connection: Connection, *columns: Any) -> Iterable[Any]:  # noqa: ANN401 - columns of any type
    return connection.execute(select(*columns, func.count().label("n")).group_by(*columns).order_by(*columns))


def _by_day(connection: Connection) -> dict[str, Any]:
    # the remainder is taken first: databases differ in how they round a division
    minute = EVENTS.c.timestamp_minute
    start = cast(minute - minute % _DAY, Integer)
    scores: dict[str, list[int]] = {}
    without: Counter[str] = Counter()
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    by_code: dict[str, Counter[str]] = defaultdict(Counter)
    for begun, p, n in _grouped(connection, start, EVENTS.c.calibrated_probability):
        day = _day(begun)
        bins = scores.setdefault(day, [0] * SCORE_BINS)
        if p is None:
            without[day] += n
        else:
            bins[_bin(p, SCORE_BINS)] += n
    for begun, label, n in _grouped(connection, start, EVENTS.c.label):
        labels[_day(begun)][label or _NOT_LOGGED] += n
    for begun, codes, n in _grouped(connection, start, EVENTS.c.reason_codes):
        by_code[_day(begun)].update(dict.fromkeys((codes or "").split(), n))
    reasons: Counter[str] = sum(by_code.values(), Counter())
    return {
        "scores_by_day": scores,
        "without_score_by_day": dict(without),
        "labels_by_day": {day: dict(sorted(found.items())) for day, found in labels.items()},
        "reasons": dict(sorted(reasons.items())),
        "reasons_by_day": {day: dict(sorted(found.items())) for day, found in by_code.items()},
    }


def _day(minute: int | None) -> str:
    return _NOT_LOGGED if minute is None else time_of(int(minute)).strftime("%Y-%m-%d")


def _bin(value: float, bins: int) -> int:
    if not 0 <= value <= 1:
        raise ValueError(f"{value!r:.40} is not between 0 and 1")
    return min(bins - 1, int(value * bins + 1e-9))


def _confidences(connection: Connection) -> dict[str, int]:
    names = [f"{i / CONFIDENCE_BINS:.1f} to {(i + 1) / CONFIDENCE_BINS:.1f}" for i in range(CONFIDENCE_BINS)]
    found = dict.fromkeys([*names, "no face"], 0)
    for value, n in _grouped(connection, EVENTS.c.face_confidence):
        found["no face" if value is None else names[_bin(value, CONFIDENCE_BINS)]] += n
    return found


def _compressions(connection: Connection) -> dict[str, int]:
    found = dict.fromkeys(COMPRESSION_CLASSES, 0)
    has_face = EVENTS.c.face_confidence.is_not(None)
    query = select(EVENTS.c.compression_proxy, func.count()).where(has_face).group_by(EVENTS.c.compression_proxy)
    for quality, n in connection.execute(query):
        found[COMPRESSION_CLASSES[compression_class(quality)]] += n
    return found


def _classes(connection: Connection, column: Any, names: tuple[str, ...]) -> dict[str, int]:  # noqa: ANN401
    found = dict.fromkeys(names, 0)
    for name, n in _grouped(connection, column):
        found[name or _NOT_LOGGED] = n
    return found


def _bundles(connection: Connection) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for digest, label, n in _grouped(connection, EVENTS.c.bundle_digest, EVENTS.c.label):
        found.setdefault(digest or _NOT_LOGGED, dict.fromkeys(LABELS, 0))[label or _NOT_LOGGED] = n
    return found


def _backwards(connection: Connection) -> int:
    minute = EVENTS.c.timestamp_minute
    before = func.lag(minute).over(order_by=EVENTS.c.id).label("before")
    inner = select(minute.label("now"), before).subquery()
    query = select(func.count()).select_from(inner).where(inner.c.now < inner.c.before - 60)
    return int(connection.execute(query).scalar_one())
