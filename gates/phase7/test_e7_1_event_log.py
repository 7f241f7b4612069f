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
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from ecdd.monitoring import figures, schema
from ecdd.monitoring.logger import EventLog, event_row
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.page import render
from ecdd.monitoring.summary import SCORE_BINS, summarise
from ecdd.monitoring.tables import EVENTS
from gates.support.field_log import DAY, event

OTHER_BUNDLE = "ab" * 32
DAYS, DEVICES = 3, ("phone_low", "phone_high", "single_board")
PROBE, LEAST_DIFFERENT = 24, 6


@pytest.fixture(scope="module")
def logged(golden: Any, detector: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any], list[Any]]:
    """Log of every golden picture over three days, and what was judged: (when, device, verdict) and judgements."""
    path = tmp_path_factory.mktemp("log") / "events.db"
    told, judgements = [], []
    with EventLog(str(path), create=True) as log:
        for i, item in enumerate(golden.items):
            judgement = detector.examine(Path(item.path))
            verdict = detector.summarise(judgement, item.path)
            if i % 5 == 4:  # an older version is still out there
                verdict = verdict.model_copy(update={"bundle_digest": OTHER_BUNDLE})
            when = DAY + datetime.timedelta(days=i % DAYS, minutes=7 * i, seconds=13)
            device = DEVICES[i % len(DEVICES)]
            log.append([schema.event_of(verdict, device, when)])
            told.append((when, device, verdict))
            judgements.append((item, judgement))
    return path, told, judgements


@pytest.mark.experiment("E7.1")
def test_the_log_alone_rebuilds_everything(evidence: Any, logged: Any) -> None:
    path, told, _ = logged
    with EventLog(str(path)) as log:
        summary = summarise(log)
    expected = _counted(told)
    found = json.loads(json.dumps(summary.plain()))
    differing = [name for name, table in expected.items() if _without_zeros(found[name]) != _without_zeros(table)]
    evidence.none("tables_differing", differing, n=len(expected), unit="table")
    evidence.check("events", summary.events, limit=len(told), op="==", unit="event", n=len(told))
    evidence.check("figures_on_the_page", render(summary).count("data:image/png;base64,"), limit=4, op="==", n=1)
    evidence.table("abstain_rate_by_reason", [{"code": c, "reason": t, "events": n, "rate": r}
                                              for c, t, n, r in summary.abstain_rates])  # fmt: skip
    evidence.figure("scores", figures.scores_by_day(summary), "Golden pictures, logged as if over three days.")
    evidence.figure("reasons", figures.reasons(summary), "Abstain rate by reason, from the log.")
    evidence.figure("distributions", figures.distributions(summary), "What came in, from the log.")


def _counted(told: list[Any]) -> dict[str, Any]:
    """The same tables from the verdicts themselves."""
    scores: dict[str, list[int]] = {}
    without, codes, resolution, device = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    labels: dict[str, Counter[str]] = {}
    bundles: dict[str, Counter[str]] = {}
    confidence, compression = Counter[str](), Counter[str]()
    for when, kind, verdict in told:
        day = when.strftime("%Y-%m-%d")
        bins = scores.setdefault(day, [0] * SCORE_BINS)
        if verdict.probability is None:
            without[day] += 1
        else:
            bins[min(SCORE_BINS - 1, int(round(verdict.probability, 3) * SCORE_BINS + 1e-9))] += 1
        labels.setdefault(day, Counter())[verdict.label] += 1
        bundles.setdefault(verdict.bundle_digest, Counter())[verdict.label] += 1
        codes.update(set(verdict.reason_codes))
        device[kind] += 1
        resolution[schema.resolution_class(verdict.size)] += 1
        faces = sorted(verdict.faces, key=lambda face: -face.score)
        face = faces[0] if verdict.deciding_face is None and faces else None
        face = verdict.faces[verdict.deciding_face] if verdict.deciding_face is not None else face
        if face is None:
            confidence["no face"] += 1
            continue
        step = min(9, int(round(face.score, 2) * 10 + 1e-9))
        confidence[f"{step / 10:.1f} to {(step + 1) / 10:.1f}"] += 1
        compression[_quality(face.jpeg_quality)] += 1
    return {
        "scores_by_day": scores, "without_score_by_day": without, "labels_by_day": labels, "reasons": codes,
        "bundles": bundles, "face_confidence": confidence, "compression": compression, "resolution": resolution,
        "device": device,
    }  # fmt: skip


def _quality(quality: float | None) -> str:
    if quality is None:
        return "unknown"
    return next((f"up to {limit}" for limit in (40, 60, 80, 92) if round(quality) <= limit), "above 92")


def _without_zeros(table: Any) -> Any:
    if isinstance(table, dict):
        return {key: _without_zeros(value) for key, value in table.items() if value != 0}
    return table


@pytest.mark.experiment("E7.1")
def test_nothing_of_a_picture_is_in_the_database(evidence: Any, logged: Any) -> None:
    """Every byte of the database's files, the write-ahead log too, against names, digests and pixels."""
    path, _, judgements = logged
    stored = b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
    text = stored.lower()
    names, digests, pixels, probes = [], [], [], 0
    for item, judgement in judgements:
        file = Path(item.path)
        named = {file.name, file.stem, str(file.parent), item.id}
        names += [f"{item.id}: {name}" for name in sorted(named) if len(name) > 2 and name.lower().encode() in text]
        digest = item.sha256
        if any(form in text for form in (digest.encode(), digest[:16].encode())) or bytes.fromhex(digest) in stored:
            digests.append(item.id)
        parts = [file.read_bytes()]
        if judgement.prepared is not None:
            parts.append(judgement.prepared.decoded.image.tobytes())
            parts += [face.s3.tobytes() for face in judgement.prepared.faces]
        found = [form in stored for part in parts for form in _probes(part)]
        probes += len(found)
        pixels += [item.id] * any(found)
    evidence.none("names_in_database", names, n=len(judgements))
    evidence.none("digests_in_database", digests, n=len(judgements))
    evidence.none("pixel_data_in_database", pixels, n=len(judgements))
    # a thumbnail has other bytes than its picture, but it needs place
    longest, widths = _longest_row(path), [getattr(column.type, "length", None) or 24 for column in EVENTS.columns]
    evidence.check("longest_event", longest, limit=sum(widths), unit="character", n=len(judgements))
    evidence.check("pieces_searched", probes, limit=100, op=">=", unit="piece", n=probes)
    evidence.measure("database", len(stored), "byte")


def _longest_row(path: Path) -> int:
    with EventLog(str(path)) as log, log.reading() as connection:
        return max(sum(len(str(value)) for value in row) for row in connection.execute(EVENTS.select()))


def _probes(data: bytes) -> list[bytes]:
    """Pieces of a picture that are not flat, raw, as hexadecimal and as base64."""
    places = np.linspace(0, max(0, len(data) - PROBE - 3), 20).astype(int) // 3 * 3
    pieces = [data[place : place + PROBE] for place in sorted(set(places.tolist()))]
    mixed = [piece for piece in pieces if len(set(piece)) >= LEAST_DIFFERENT and len(piece) == PROBE]
    return [form for piece in mixed for form in (piece, piece.hex().encode(), base64.b64encode(piece))]


@pytest.mark.experiment("E7.1")
def test_the_log_holds_the_contract_s_fields_only(evidence: Any, policy: Any, logged: Any) -> None:
    fields = policy.monitoring.logged_fields
    extra = sorted(set(EVENTS.columns.keys()) - set(fields) - {"id"}) + sorted(set(schema.FIELDS) - set(fields))
    evidence.none("fields_beyond_the_contract", extra, n=len(fields), unit="field")
    good = event().model_dump()
    foreign = {"path": "a.jpg", "pixels": "AAAA", "embedding": [0.1], "file_sha256": "0" * 64, "user": "x"}
    words = {"device_class": "Anna's phone", "label": "a.jpg", "reason_codes": ("GR-001 a.jpg",),
             "resolution_class": "1024x768", "bundle_digest": "a.jpg", "compression_proxy": 1e9}  # fmt: skip
    accepted = [name for name, value in (foreign | words).items() if _accepts(good | {name: value})]
    evidence.none("foreign_values_accepted_by_the_schema", accepted, n=len(foreign | words), unit="value")
    exact = event(calibrated_probability=0.123456789, face_confidence=0.987654321)
    kept = [v for v in (exact.calibrated_probability, exact.face_confidence) if len(str(v)) > len("0.000")]
    evidence.none("numbers_that_could_identify", kept, n=2, unit="number")
    evidence.none("seconds_kept", [t for t in [event(timestamp_minute=DAY.replace(second=59)).timestamp_minute]
                                   if t.second], n=1, unit="event")  # fmt: skip


def _accepts(values: dict[str, Any]) -> bool:
    try:
        schema.checked_event(values)
    except MonitoringError:
        return False
    return True


@pytest.mark.experiment("E7.1")
def test_the_database_itself_refuses_words(evidence: Any, tmp_path: Path) -> None:
    """Also a writer that passes by the schema cannot put a name into a column, and the refusal does not repeat it."""
    accepted, repeated = [], []
    words = {"device_class": "IMG_1234.jpg", "label": "IMG_1", "resolution_class": "IMG_1234.jpg",
             "bundle_digest": "IMG_1234.jpg", "calibrated_probability": 17.0}  # fmt: skip
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
def test_a_field_that_the_contract_does_not_name_is_not_stored(evidence: Any, policy: Any, tmp_path: Path) -> None:
    left = [name for name in policy.monitoring.logged_fields if name not in ("device_class", "face_confidence")]
    with EventLog(str(tmp_path / "log.db"), left, create=True) as log:
        log.append([event()])
        with log.reading() as connection:
            row = connection.execute(EVENTS.select()).mappings().one()
    stored = [name for name in ("device_class", "face_confidence") if row[name] is not None]
    evidence.none("fields_stored_without_leave", stored, n=2, unit="field")
