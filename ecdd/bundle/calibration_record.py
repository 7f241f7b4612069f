"""``calibration.json``: how a pooled logit becomes a probability, and what that was fitted on."""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ecdd.bundle.manifest import Record, Sha256


class Thresholds(Record):
    """Copy of the operating point that was chosen with this calibration; must equal the contract's."""

    t_real: Annotated[float, Field(gt=0, lt=1)]
    t_fake: Annotated[float, Field(gt=0, lt=1)]


class CalibrationRecord(Record):
    """Calibration fitted on the shipped model's own logits: ``calibrated = logit / temperature + bias``.

    Platt scaling with slope a has ``temperature = 1 / a``; plain temperature scaling has no bias; isotonic calibration
    has knots (pooled logit, calibrated logit) instead of both.
    """

    schema_version: Literal[1] = 1
    method: Literal["temperature", "platt", "isotonic"]
    temperature: Annotated[float, Field(gt=0, le=1000)]
    bias: Annotated[float, Field(ge=-1000, le=1000)]
    knots: tuple[tuple[float, float], ...] = ()
    fitted_on_model_sha256: Annotated[Sha256, Field(description="SHA-256 of model.tflite")]
    calibration_set_digest: Sha256
    n_real: Annotated[int, Field(ge=1)]
    n_fake: Annotated[int, Field(ge=1)]
    metrics: dict[str, float | int | str | None]
    thresholds: Thresholds
    created: Annotated[datetime.date, Field(description="day the set was frozen; its age is judged from here")]

    @model_validator(mode="after")
    def _method_has_its_parameters(self) -> CalibrationRecord:
        if self.method == "temperature" and self.bias != 0:
            msg = f'method "temperature" has bias 0, not {self.bias}; name the method "platt"'
            raise ValueError(msg)
        if (self.method == "isotonic") != bool(self.knots):
            msg = f'method "{self.method}" with {len(self.knots)} knots: isotonic calibration has knots, no other has'
            raise ValueError(msg)
        if self.knots and (self.temperature, self.bias) != (1.0, 0.0):
            msg = f"isotonic calibration has temperature 1 and bias 0, not {self.temperature} and {self.bias}"
            raise ValueError(msg)
        rises = all(a[0] < b[0] and a[1] <= b[1] for a, b in zip(self.knots, self.knots[1:], strict=False))
        if not rises or not all(math.isfinite(value) for knot in self.knots for value in knot):
            msg = "knots must be finite, rise in the pooled logit and never fall in the calibrated one"
            raise ValueError(msg)
        return self
