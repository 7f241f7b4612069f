"""Settings of one training, read from YAML and written into its record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class TrainingError(Exception):
    """A training cannot start or go on; the message says what to change."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HarmoniseSettings(_Settings):
    """How both classes are brought to one distribution of face size, colour and compression."""

    crop_side_edges: Annotated[list[int], Field(min_length=2)]
    max_factor: Annotated[float, Field(gt=0, le=1)]
    repeats: Annotated[int, Field(ge=1, le=64)]
    jpeg_quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]]
    region_margin: tuple[Annotated[float, Field(ge=0, le=4)], Annotated[float, Field(ge=0, le=4)]]

    @model_validator(mode="after")
    def _ordered(self) -> HarmoniseSettings:
        if sorted(set(self.crop_side_edges)) != self.crop_side_edges or self.crop_side_edges[0] < 32:
            msg = f"crop_side_edges {self.crop_side_edges} must rise and start at 32 px or more"
            raise ValueError(msg)
        for name in ("jpeg_quality", "region_margin"):
            low, high = getattr(self, name)
            if low > high:
                msg = f"{name} [{low}, {high}] must rise"
                raise ValueError(msg)
        return self

    @property
    def strata(self) -> int:
        """Number of strata of the crop side."""
        return len(self.crop_side_edges) - 1


class SplitSettings(_Settings):
    """Which TRAIN pictures validate: whole sources, and shares of others by near-duplicate group."""

    validation_sources: list[str]
    validation_share: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}


class OptimiseSettings(_Settings):
    """Optimiser, schedule and stopping."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    draws: Annotated[int, Field(ge=8, le=10**7)]
    batch: Annotated[int, Field(ge=2, le=4096)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    warmup_epochs: Annotated[int, Field(ge=0, le=1000)]
    cell_loss: Annotated[float, Field(ge=0, le=10)]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    patience: Annotated[int, Field(ge=1, le=10_000)]
    crop: Annotated[int, Field(ge=64, le=1024, multiple_of=8)]
    average: Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(_Settings):
    """All settings of a student's training."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    harmonise: HarmoniseSettings
    sharpness_edges: Annotated[list[float], Field(min_length=1)]
    source_disjoint: SplitSettings
    shipped: SplitSettings
    optimise: OptimiseSettings


def load_config(path: Path) -> TrainingConfig:
    """Read a training configuration.

    Parameters
    ----------
    path : Path
        YAML file.

    Returns
    -------
    TrainingConfig
        Checked settings.

    Raises
    ------
    TrainingError
        If the file is unreadable or a key is unknown, missing or out of range; every problem is listed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TrainingConfig.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path}: not a readable YAML file ({error})"
        raise TrainingError(msg) from error
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise TrainingError("\n".join(lines)) from error
