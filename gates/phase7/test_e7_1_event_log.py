"""E7.1 event log: the privacy-preserving log alone rebuilds score histogram by day, abstain rate by reason,
face-confidence and compression distributions, and the breakdown by model version; it holds no pixels, no file names
and no embeddings.

A log that cannot show drift is useless, one that shows a person is a leak. Fails when a table rebuilt from the log
differs from the events, or when anything of a picture is found in it, in memory written to disk, or after its
retention.
"""

from __future__ import annotations

import base64
import datetime
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from ecdd.monitoring import figures, schema
from ecdd.monitoring.logger import EventLog, event_row
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.page import render
from ecdd.monitoring.summary import SCORE_BINS, LogSummary, summarise
from ecdd.monitoring.tables import EVENTS
from ecdd.monitoring.triggers import COMPRESSION_CLASSES, compression_class
from ecdd.tracing import StageRecord
from ecdd.verdict import FaceVerdict, Verdict
from gates.support.field_log import DAY, event
from gates.support.fixtures import Detector, Evidence, GoldenItem, GoldenSet, PolicyContract

OTHER_BUNDLE = "ab" * 32
DAYS, DEVICES = 3, ("phone_low", "phone_high", "single_board")
PROBE, LEAST_DIFFERENT = 24, 6  # bytes of a piece that is searched for, and different ones in it


@dataclass(frozen=True)
class Logged:
    """A picture that was judged, and what the log was told of it: when, on what device, with what verdict."""

    item: GoldenItem
    record: StageRecord
    when: datetime.datetime
    device: str
    verdict: Verdict

    @property
    def day(self) -> str:
        return self.when.strftime("%Y-%m-%d")

    @property
    def face(self) -> FaceVerdict | None:
        """The face that decided, or else the surest."""
        faces, deciding = self.verdict.faces, self.verdict.deciding_face
        return max(faces, key=lambda face: face.score, default=None) if deciding is None else faces[deciding]


@dataclass(frozen=True)
class FieldLog:
    """A log and the pictures behind it."""

    path: Path
    pictures: list[Logged]


@pytest.fixture(scope="module")
def field_log(golden: GoldenSet, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> FieldLog:
    """Every golden picture, logged as if over three days and from three kinds of devices."""
    path = tmp_path_factory.mktemp("log") / "events.db"
    pictures = []
    with EventLog(str(path), create=True) as log:
        for i, item in enumerate(golden.items):
            record = detector.examine(Path(item.path))
            verdict = detector.summarise(record, item.path)
            if i % 5 == 4:  # on some devices an older bundle is still at work
                verdict = verdict.model_copy(update={"bundle_digest": OTHER_BUNDLE})
            when = DAY + datetime.timedelta(days=i % DAYS, minutes=7 * i, seconds=13)
            one = Logged(item, record, when, DEVICES[i % len(DEVICES)], verdict)
            log.append([schema.event_of(one.verdict, one.device, one.when)])
            pictures.append(one)
    return FieldLog(path, pictures)


@pytest.mark.experiment("E7.1")
def test_the_log_alone_rebuilds_everything(evidence: Evidence, field_log: FieldLog) -> None:
    """Every table that is made from the log equals the one that is counted from the verdicts themselves."""
    with EventLog(str(field_log.path)) as log:
        summary = summarise(log)
    expected = _counted(field_log.pictures)
    differing = [name for name, table in expected.items() if Counter(_flat(summary, name)) != table]
    evidence.none("tables_differing", differing, n=len(expected), unit="table")
    pictures = field_log.pictures
    evidence.check("events", summary.events, limit=len(pictures), op="==", unit="event", n=len(pictures))
    evidence.check("figures_on_the_page", render(summary).count("data:image/png;base64,"), limit=4, op="==", n=1)
    names = ("code", "reason", "events", "rate")
    evidence.table("abstain_rate_by_reason", [dict(zip(names, row, strict=True)) for row in summary.abstain_rates])
    evidence.figure("scores", figures.scores_by_day(summary), "Golden pictures, logged as if over three days.")
    evidence.figure("reasons", figures.reasons(summary), "Abstain rate by reason, from the log.")
    evidence.figure("distributions", figures.distributions(summary), "What came in, from the log.")


def _counted(pictures: list[Logged]) -> dict[str, Counter[Hashable]]:
    """The tables of the clause, one line each, keys of a table in a tuple."""
    scored = [(one, one.verdict.probability) for one in pictures if one.verdict.probability is not None]
    faces = [one.face for one in pictures if one.face is not None]
    confidences = [_tenth(face.score) for face in faces] + ["no face"] * (len(pictures) - len(faces))
    qualities = [None if face.jpeg_quality is None else float(round(face.jpeg_quality)) for face in faces]
    return {
        "scores_by_day": Counter((one.day, _score_bin(p)) for one, p in scored),
        "without_score_by_day": Counter(one.day for one in pictures if one.verdict.probability is None),
        "labels_by_day": Counter((one.day, one.verdict.label) for one in pictures),
        "reasons": Counter(code for one in pictures for code in set(one.verdict.reason_codes)),
        "face_confidence": Counter(confidences),
        "compression": Counter(COMPRESSION_CLASSES[compression_class(quality)] for quality in qualities),
        "resolution": Counter(schema.resolution_class(one.verdict.size) for one in pictures),
        "device": Counter(one.device for one in pictures),
        "bundles": Counter((one.verdict.bundle_digest, one.verdict.label) for one in pictures),
    }


def _score_bin(p: float) -> int:
    """Equal steps over the thousandths that are logged; 1 is in the last."""
    return min(SCORE_BINS - 1, round(p * 1000) * SCORE_BINS // 1000)


def _tenth(confidence: float) -> str:
    low = min(9, round(confidence * 100) // 10)
    return f"{low / 10:.1f} to {(low + 1) / 10:.1f}"


def _flat(summary: LogSummary, name: str) -> dict[Hashable, int]:
    """A table of the log; where it holds tables itself, with the keys of both in a tuple."""
    table: Mapping[str, Any] = getattr(summary, name)
    flat: dict[Hashable, int] = {}
    for key, value in table.items():
        if isinstance(value, int):
            flat[key] = value
        else:
            inner = enumerate(value) if isinstance(value, list) else value.items()
            flat |= {(key, place): n for place, n in inner}
    return flat


@pytest.mark.experiment("E7.1")
def test_nothing_of_a_picture_is_in_the_database(evidence: Evidence, field_log: FieldLog) -> None:
    """Every byte of the database's files, the write-ahead log too, against names, digests and pixels."""
    path, n = field_log.path, len(field_log.pictures)
    stored = b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
    text, names, digests, pixels, searched = stored.lower(), [], [], [], 0
    for one in field_log.pictures:
        names += [f"{one.item.id}: {name}" for name in _names(one) if name.lower().encode() in text]
        digest = one.item.sha256
        if digest[:16].encode() in text or bytes.fromhex(digest) in stored:
            digests.append(one.item.id)
        pieces = list(_pieces(one))
        searched += len(pieces)
        if any(piece in stored for piece in pieces):
            pixels.append(one.item.id)
    evidence.none("names_in_database", names, n=n)
    evidence.none("digests_in_database", digests, n=n)
    evidence.none("pixel_data_in_database", pixels, n=n)
    # a thumbnail has other bytes than its picture, but it needs place
    longest, widths = _longest_row(path), [getattr(column.type, "length", None) or 24 for column in EVENTS.columns]
    evidence.check("longest_event", longest, limit=sum(widths), unit="character", n=n)
    evidence.check("pieces_searched", searched, limit=100, op=">=", unit="piece", n=searched)
    evidence.measure("database", len(stored), "byte")


def _names(one: Logged) -> list[str]:
    """What a picture is called anywhere; one or two letters are no name."""
    file = Path(one.item.path)
    return sorted(name for name in {file.name, file.stem, str(file.parent), one.item.id} if len(name) > 2)


def _pieces(one: Logged) -> Iterator[bytes]:
    """Pieces of the file, of its pixels and of its faces that are not flat, raw, as hexadecimal and as base64."""
    contents = [Path(one.item.path).read_bytes()]
    if one.record.prepared is not None:
        contents.append(one.record.prepared.decoded.image.tobytes())
        contents += [face.s3.tobytes() for face in one.record.prepared.faces]
    for content in contents:
        places = np.linspace(0, max(0, len(content) - PROBE - 3), 20).astype(int) // 3 * 3
        for place in sorted(set(places.tolist())):
            piece = content[place : place + PROBE]
            if len(set(piece)) >= LEAST_DIFFERENT and len(piece) == PROBE:
                yield from (piece, piece.hex().encode(), base64.b64encode(piece))


def _longest_row(path: Path) -> int:
    with EventLog(str(path)) as log, log.reading() as connection:
        return max(sum(len(str(value)) for value in row) for row in connection.execute(EVENTS.select()))


# what somebody might want to log, and values that only look like those of a field
FOREIGN = {"path": "a.jpg", "pixels": "AAAA", "embedding": [0.1], "file_sha256": "0" * 64, "user": "x"}
DISGUISED = {
    "device_class": "Anna's phone",
    "label": "a.jpg",
    "reason_codes": ("GR-001 a.jpg",),
    "resolution_class": "1024x768",
    "bundle_digest": "a.jpg",
    "compression_proxy": 1e9,
}


@pytest.mark.experiment("E7.1")
def test_the_log_holds_the_contract_s_fields_only(evidence: Evidence, policy: PolicyContract) -> None:
    """No other field, no other words in a field, and no number so exact that it would identify a picture."""
    fields = policy.monitoring.logged_fields
    extra = sorted(set(EVENTS.columns.keys()) - set(fields) - {"id"}) + sorted(set(schema.FIELDS) - set(fields))
    evidence.none("fields_beyond_the_contract", extra, n=len(fields), unit="field")
    good, values = event().model_dump(), FOREIGN | DISGUISED
    accepted = [name for name, value in values.items() if _accepts(good | {name: value})]
    evidence.none("foreign_values_accepted_by_the_schema", accepted, n=len(values), unit="value")
    exact = event(calibrated_probability=0.123456789, face_confidence=0.987654321)
    kept = [v for v in (exact.calibrated_probability, exact.face_confidence) if len(str(v)) > len("0.000")]
    evidence.none("numbers_that_could_identify", kept, n=2, unit="number")
    minute = event(timestamp_minute=DAY.replace(second=59)).timestamp_minute
    evidence.none("seconds_kept", [minute] if minute.second else [], n=1, unit="event")


def _accepts(values: dict[str, Any]) -> bool:
    try:
        schema.checked_event(values)
    except MonitoringError:
        return False
    return True


@pytest.mark.experiment("E7.1")
def test_the_database_itself_refuses_words(evidence: Evidence, tmp_path: Path) -> None:
    """Also a writer that passes by the schema cannot put a name into a column, and the refusal does not repeat it."""
    accepted, repeated = [], []
    words = {
        "device_class": "IMG_1234.jpg",
        "label": "IMG_1",
        "resolution_class": "IMG_1234.jpg",
        "bundle_digest": "IMG_1234.jpg",
        "calibrated_probability": 17.0,
    }
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        for column, value in words.items():
            try:
                with log.writing() as connection:
                    connection.execute(insert(EVENTS), [event_row(event(), schema.FIELDS) | {column: value}])
                accepted.append(column)
            except MonitoringError as error:
                repeated += [column] * ("IMG_1" in str(error))
    evidence.none("columns_that_take_words", accepted, n=len(words), unit="column")
    evidence.none("errors_that_repeat_the_value", repeated, n=len(words), unit="error")


@pytest.mark.experiment("E7.1")
def test_a_field_that_the_contract_does_not_name_is_not_stored(
    evidence: Evidence, policy: PolicyContract, tmp_path: Path
) -> None:
    """Two fields are taken out of the contract: their columns stay empty."""
    taken_out = ("device_class", "face_confidence")
    left = [name for name in policy.monitoring.logged_fields if name not in taken_out]
    with EventLog(str(tmp_path / "log.db"), left, create=True) as log:
        log.append([event()])
        with log.reading() as connection:
            row = connection.execute(EVENTS.select()).mappings().one()
    stored = [name for name in taken_out if row[name] is not None]
    evidence.none("fields_stored_without_leave", stored, n=len(taken_out), unit="field")


@pytest.mark.experiment("E7.1")
def test_events_are_kept_until_their_retention_ends(evidence: Evidence, policy: PolicyContract, tmp_path: Path) -> None:
    """One minute younger than the retention, just as old, one minute older: the last one goes, and it alone."""
    days, minute = policy.monitoring.retention_days, datetime.timedelta(minutes=1)
    end = DAY - datetime.timedelta(days=days)
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        log.append([event(timestamp_minute=end + shift * minute) for shift in (-1, 0, 1)])
        log.flush()
        gone, left = log.purge(days, DAY), log.count()
    evidence.check("purged_at_the_end_of_retention", gone, limit=1, op="==", unit="event", n=3)
    evidence.check("kept_until_the_end_of_retention", left, limit=2, op="==", unit="event", n=3)
