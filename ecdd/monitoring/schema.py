"""The event: one judged picture as the log may know it.

Nothing in an event can carry a picture, its name or its digest: every field is a number on a coarse step, a code of a
fixed list, or the digest of the bundle. Probabilities are rounded because sixteen digits would identify a picture as
surely as a hash does.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.verdict import Verdict

ResolutionClass = Literal["under_256", "256_to_511", "512_to_1023", "1024_to_2047", "from_2048", "unknown"]
DeviceClass = Literal["phone_low", "phone_mid", "phone_high", "tablet", "single_board", "desktop", "server", "unknown"]
RESOLUTION_CLASSES: Final[tuple[str, ...]] = get_args(ResolutionClass)
DEVICE_CLASSES: Final[tuple[str, ...]] = get_args(DeviceClass)
LABELS: Final = ("real", "fake", "abstain")

# shorter side of the upright picture in pixels, up to below which a class goes
_SIDES: Final = ((256, "under_256"), (512, "256_to_511"), (1024, "512_to_1023"), (2048, "1024_to_2047"))
PROBABILITY_DIGITS, CONFIDENCE_DIGITS = 3, 2


def _utc_minute(when: datetime.datetime) -> datetime.datetime:
    return when.astimezone(datetime.UTC).replace(second=0, microsecond=0)


Probability = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda p: round(p, PROBABILITY_DIGITS))]
Confidence = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda c: round(c, CONFIDENCE_DIGITS))]
Quality = Annotated[float, Field(ge=0, le=100), AfterValidator(lambda q: float(round(q)))]
Minute = Annotated[AwareDatetime, AfterValidator(_utc_minute)]


class Event(BaseModel):
    """One picture's event: exactly the contract's ``monitoring.logged_fields``.

    Attributes
    ----------
    calibrated_probability : float or None
        P(fake) on steps of 0.001; None when no face was judged.
    label : {"real", "fake", "abstain"}
        The decision.
    reason_codes : tuple of ReasonCode
        Why it abstained; empty exactly for real and fake.
    face_confidence : float or None
        Face detector's score on steps of 0.01, of the deciding face or else the surest; None without a face.
    resolution_class : str
        By the shorter side of the picture.
    compression_proxy : float or None
        Estimated JPEG quality, whole numbers; None when unknown or no face was found.
    bundle_digest : str
        Payload digest of the bundle that judged, 64 hexadecimal digits.
    device_class : str
        What kind of machine it ran on.
    timestamp_minute : datetime
        UTC; seconds are cut off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    calibrated_probability: Probability | None
    label: Literal["real", "fake", "abstain"]
    reason_codes: tuple[ReasonCode, ...]
    face_confidence: Confidence | None
    resolution_class: ResolutionClass
    compression_proxy: Quality | None
    bundle_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    device_class: DeviceClass
    timestamp_minute: Minute

    @model_validator(mode="after")
    def _decided_or_explained(self) -> Event:
        if (self.label == "abstain") != bool(self.reason_codes):
            msg = "an abstention has reason codes, real and fake have none"
            raise ValueError(msg)
        if self.label != "abstain" and self.calibrated_probability is None:
            msg = "real and fake need a probability"
            raise ValueError(msg)
        return self


FIELDS: Final[tuple[str, ...]] = tuple(Event.model_fields)


def event_of(
    verdict: Verdict | Mapping[str, Any],
    device_class: str = "unknown",
    when: datetime.datetime | None = None,
    bundle_digest: str | None = None,
) -> Event:
    """Reduce a verdict to what may be logged.

    Parameters
    ----------
    verdict : Verdict or mapping
        A verdict, or its line as ``ecdd predict --json`` prints it (the line of a worker that died is one too).
    device_class : str
        One of `DEVICE_CLASSES`.
    when : datetime, optional
        With a time zone; now where not given.
    bundle_digest : str, optional
        For a line that does not name its bundle.

    Returns
    -------
    Event
        Nothing else of the verdict is kept.

    Raises
    ------
    MonitoringError
        A value that the log may not hold; the value itself is not repeated.
    """
    line = verdict.model_dump(mode="json") if isinstance(verdict, Verdict) else verdict
    faces, deciding = line["faces"], line["deciding_face"]
    face = max(faces, key=lambda f: f["score"], default=None) if deciding is None else faces[deciding]
    return checked_event(
        {
            "calibrated_probability": line["probability"],
            "label": line["label"],
            "reason_codes": line["reason_codes"],
            "face_confidence": None if face is None else face["score"],
            "resolution_class": resolution_class(line.get("size")),
            "compression_proxy": None if face is None else face["jpeg_quality"],
            "bundle_digest": line.get("bundle_digest") or bundle_digest,
            "device_class": device_class,
            "timestamp_minute": when or datetime.datetime.now(datetime.UTC),
        }
    )


def checked_event(values: Mapping[str, Any]) -> Event:
    """Make an event, or say which field is wrong without repeating what it held."""
    try:
        return Event.model_validate(values)
    except ValidationError as error:
        fields = sorted({str(e["loc"][0]) if e["loc"] else "event" for e in error.errors()})
        first = error.errors(include_input=False, include_context=False)[0]["msg"]
        msg = f"event refused, {', '.join(fields)}: {first}; the log holds only {', '.join(FIELDS)}"
        raise MonitoringError(msg) from None


def resolution_class(size: tuple[int, int] | None) -> str:
    """Class of a picture's size in pixels; ``unknown`` when it was not decoded."""
    if size is None:
        return "unknown"
    return next((name for limit, name in _SIDES if min(size) < limit), "from_2048")
