"""``calibration.json``: how a pooled logit becomes a probability, and what that was fitted on."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ecdd.bundle.manifest import Record, Sha256


class Thresholds(Record):
    """Copy of the operating point that was chosen with this calibration; must equal the contract's."""

    t_real: Annotated[float, Field(gt=0, lt=1)]
    t_fake: Annotated[float, Field(gt=0, lt=1)]


class CalibrationRecord(Record):
    """Calibration fitted on the shipped model's own logits: ``calibrated = logit / temperature + bias``.

    Platt scaling with slope a has ``temperature = 1 / a``; plain temperature scaling has no bias.
    """

    schema_version: Literal[1] = 1
    method: Literal["temperature", "platt"]
    temperature: Annotated[float, Field(gt=0, le=1000)]
    bias: Annotated[float, Field(ge=-1000, le=1000)]
    fitted_on_model_sha256: Annotated[Sha256, Field(description="SHA-256 of model.tflite")]
    calibration_set_digest: Sha256
    n_real: Annotated[int, Field(ge=1)]
    n_fake: Annotated[int, Field(ge=1)]
    metrics: dict[str, float | int | str | None]
    thresholds: Thresholds
    created: Annotated[datetime.date, Field(description="day the set was frozen; its age is judged from here")]

    @model_validator(mode="after")
    def _temperature_has_no_bias(self) -> CalibrationRecord:
        if self.method == "temperature" and self.bias != 0:
            msg = f'method "temperature" has bias 0, not {self.bias}; name the method "platt"'
            raise ValueError(msg)
        return self
