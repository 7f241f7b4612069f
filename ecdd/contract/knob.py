"""What the schema says of a knob beyond its type: its unit and the experiment that sets it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Knob:
    """Annotation of one contract value.

    Attributes
    ----------
    unit : str
        Unit of the value (``"px"``, ``"probability"``, ``"level"`` = one 8-bit grey level, ``"none"`` …).
    set_by : str
        Id of the experiment or the spec clause that decides the value, for example ``"E2.3"``.
    """

    unit: str
    set_by: str


class Section(BaseModel):
    """Base of every contract section: immutable, strict types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)
