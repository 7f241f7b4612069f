"""Events for the tests of phase 7."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from ecdd.monitoring.schema import Event, checked_event

DAY = datetime.datetime(2026, 3, 2, 8, 30, tzinfo=datetime.UTC)
DIGEST = "5" * 64


def events_of_rows(rows: Sequence[Mapping[str, Any]], digest: str, at: datetime.datetime) -> list[Event]:
    """Events of rows in the columns of the log."""
    known = {"resolution_class": "unknown", "bundle_digest": digest, "timestamp_minute": at}
    return [checked_event({**row, **known, "reason_codes": row["reason_codes"].split()}) for row in rows]


def event(**changed: Any) -> Event:
    """One event, a judged fake where nothing else is said."""
    values = {
        "calibrated_probability": 0.9,
        "label": "fake",
        "reason_codes": (),
        "face_confidence": 0.95,
        "resolution_class": "1024_to_2047",
        "compression_proxy": 90.0,
        "bundle_digest": DIGEST,
        "device_class": "phone_mid",
        "timestamp_minute": DAY,
    }
    return checked_event(values | changed)
