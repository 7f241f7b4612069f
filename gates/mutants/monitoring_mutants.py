"""Defects of monitoring: a log that tells of pictures, triggers that never, always or wrongly fire, and peeking."""

from __future__ import annotations

import base64
from typing import Any


def _loosened() -> None:
    """The constraints of the database are gone, as if somebody had widened the columns."""
    from sqlalchemy import CheckConstraint

    from ecdd.monitoring.tables import EVENTS

    for constraint in [c for c in EVENTS.constraints if isinstance(c, CheckConstraint)]:
        EVENTS.constraints.discard(constraint)


def _event_with(field: str, value_of: Any) -> None:
    """Put something of the verdict into a field, past the schema's checks."""
    from ecdd.monitoring import schema

    _loosened()
    really = schema.event_of

    def planted(verdict: Any, *given: Any, **named: Any) -> Any:
        made = really(verdict, *given, **named)
        return schema.Event.model_construct(**{**dict(made), field: value_of(verdict)})

    schema.event_of = planted


def pixel_in_log() -> None:
    """Somebody wanted to see what was judged, and logs the head of the decoded picture."""

    def thumbnail(verdict: Any) -> tuple[str, ...]:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(verdict.path) as picture:
                return (base64.b64encode(picture.convert("RGB").tobytes()[:12_000]).decode(),)
        except (OSError, UnidentifiedImageError):
            return ()

    _event_with("reason_codes", thumbnail)


def filename_in_log() -> None:
    """The device class carries the path, to find pictures again."""
    _event_with("device_class", lambda verdict: verdict.path)


def drift_never_fires() -> None:
    """Evidence never suffices."""
    import numpy as np

    from ecdd.monitoring import drift_triggers

    drift_triggers.log_evidence = lambda since, *_: np.full(len(since), -1e9)


def drift_always_fires() -> None:
    """Effect limits and evidence are forgotten: enough events are an alarm."""
    import dataclasses

    from ecdd.monitoring import drift_triggers

    really = drift_triggers.look

    def planted(*given: Any) -> Any:
        seen = really(*given)
        return dataclasses.replace(seen, fires=seen.judged)

    drift_triggers.look = planted


def wrong_trigger() -> None:
    """Classes of compression and device are exchanged, so each drift names the other's response."""
    import dataclasses

    from ecdd.monitoring.triggers import TRIGGERS

    device, compression = TRIGGERS["device_shift"], TRIGGERS["compression_shift"]
    for name, own, other in (
        ("device_shift", device, compression),
        ("compression_shift", compression, device),
    ):
        TRIGGERS[name] = dataclasses.replace(own, classes=other.classes, class_of=other.class_of)  # type: ignore[index]


def peeking() -> None:
    """A chi-squared test for a fixed number of events is looked at again and again."""
    import numpy as np

    from ecdd.monitoring import drift_triggers

    def planted(since: Any, _starts: Any, reference: Any, _ball: Any) -> Any:
        from scipy.stats import chi2

        counts = since[:, 0] + 0.5
        expected = (reference + 0.5) / (reference + 0.5).sum(-1, keepdims=True) * counts.sum(-1, keepdims=True)
        statistic = 2 * (counts * np.log(counts / expected)).sum(axis=-1)
        return -chi2.logsf(statistic, counts.shape[-1] - 1)

    drift_triggers.log_evidence = planted


def reference_taken_for_the_truth() -> None:
    """The reference is a finite sample, and nobody allows for that."""
    from ecdd.monitoring import drift_triggers

    drift_triggers.radius = lambda n, *_: 1e-12 * n


def drift_at_the_limit() -> None:
    """A trigger fires at its limit, where the contract says above it."""
    import math

    from ecdd.monitoring import drift_triggers

    really = drift_triggers.limits_of
    drift_triggers.limits_of = lambda trigger, knobs: {
        name: math.nextafter(limit, -math.inf) for name, limit in really(trigger, knobs).items()
    }


def retention_a_minute_short() -> None:
    """Events go when their retention ends, where they may stay."""
    import datetime

    from ecdd.monitoring.logger import EventLog

    really, minute = EventLog.purge, datetime.timedelta(minutes=1)
    EventLog.purge = lambda self, days, as_of: really(self, days, as_of + minute)  # type: ignore[method-assign]
