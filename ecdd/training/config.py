"""Settings of one training, read from YAML and written into its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ecdd.errors import EcddError
from ecdd.files import read_yaml


class TrainingError(EcddError):
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


class LeaveOutSettings(_Settings):
    """Which sources are left out in turn, to measure what was never seen."""

    fake_families: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1)]
    real_sources: Annotated[list[str], Field(min_length=1)]


class ArchitectureSettings(_Settings):
    """Which network is trained, and how wide."""

    name: Literal["tiny_ladeda", "ladeda9", "lite"]
    width: Annotated[float, Field(gt=0, le=4)] = 1.0


Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


class AugmentSettings(_Settings):
    """What is done to training tensors without looking at the label; post-processing is the transform suite's."""

    flip: Probability
    post_processing: Probability
    colour: Probability
    contrast: Range
    brightness: Range
    saturation: Range

    @model_validator(mode="after")
    def _rising(self) -> AugmentSettings:
        limits = {"contrast": (0.1, 4.0), "brightness": (-128.0, 128.0), "saturation": (0.0, 4.0)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                msg = f"{name} [{low}, {high}] must rise and lie in {least} to {most}"
                raise ValueError(msg)
        return self


class ForgerySettings(_Settings):
    """Which forgeries of our own are trained on, and how often."""

    generators: Annotated[list[str], Field(min_length=1)]
    share: Probability


class DistilSettings(_Settings):
    """How a student follows a teacher, cell by cell; in the first stage nothing else is learnt."""

    loss: Literal["mse", "kl"]
    weight: Annotated[float, Field(gt=0, le=100)]
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    first_stage_epochs: Annotated[int, Field(ge=0, le=10_000)]


class OptimiseSettings(_Settings):
    """Optimiser, schedule, stopping, and what keeps a network from learning its pictures by heart.

    Attributes
    ----------
    mixup : float
        Both parameters of the Beta distribution of a pair's shares (Zhang et al., 2018); 0 mixes nothing.
    skipped_blocks : float
        Share of pictures that pass the deepest block by its shortcut alone, see `Lite.skip_blocks`.
    """

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
    mask_loss: Annotated[float, Field(ge=0, le=10)] = 0.0
    precision: Literal["float32", "auto"] = "float32"
    head_learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    head_start_draws: Annotated[int, Field(ge=0, le=10**6)] = 0
    norm_statistics: Literal["batch", "kept"] = "batch"
    channels_last: bool = False
    full_size_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    freeze: tuple[str, ...] = ()
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    skipped_blocks: Annotated[float, Field(ge=0, lt=1)] = 0.0
    choose: Literal["best", "last"] = "best"


class TrainingConfig(_Settings):
    """All settings of a training."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    architecture: ArchitectureSettings
    harmonise: HarmoniseSettings
    sharpness_edges: Annotated[list[float], Field(min_length=1)]
    validation_share: Annotated[float, Field(gt=0, lt=1)]
    measured_tensors: Annotated[int, Field(ge=1, le=1000)]
    leave_one_source_out: LeaveOutSettings | None = None
    optimise: OptimiseSettings
    augment: AugmentSettings | None = None
    forgeries: ForgerySettings | None = None
    distil: DistilSettings | None = None

    @model_validator(mode="after")
    def _what_is_carried_out(self) -> TrainingConfig:
        for name in ("mixup", "skipped_blocks"):
            if value := getattr(self.optimise, name):
                msg = f"optimise.{name} {value}: only trainings on faces of every framing (lite) do that; leave it out"
                raise ValueError(msg)
        return self


class DegradationRanges(_Settings):
    """What is done to every picture, of either class, and how often (`ecdd.training.degradations`).

    Attributes
    ----------
    side : tuple of int
        Side of the reduced crop, px, drawn in equal ratios.
    jpeg, webp : tuple of int
        Quality.
    grey, tone, tint, blur, sharpen, noise, video_range, depth, screenshot, webp_share, chain, as_it_is : float
        Probabilities.
    strong_contrast : float
        Probability of strong contrast in place of a tone curve.
    """

    side: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(le=1024)]]
    jpeg: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=100)]]
    webp: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=100)]]
    grey: Probability
    tone: Probability
    tint: Probability
    blur: Probability
    sharpen: Probability
    noise: Probability
    video_range: Probability
    depth: Probability
    screenshot: Probability
    webp_share: Probability
    chain: Probability
    as_it_is: Probability
    strong_contrast: Probability = 0.0


@dataclass(frozen=True)
class DrawShares:
    """How often a drawn fake is made of a real face on the spot, and which sources are drawn more often.

    Attributes
    ----------
    blended, composited : float
        Shares of the fakes: blended into themselves; given parts of another face of their source. Together at most 1.
    source_weights : dict of str to float
        Factor on how often a source (or a kind of forgery of ours) is drawn; 1 where it is not named.
    """

    blended: float = 0.0
    composited: float = 0.0
    source_weights: Mapping[str, float] = field(default_factory=dict)


class FoldSettings(_Settings):
    """One cross-fit: a family of fakes and real sources that its training never sees."""

    fake_sources: Annotated[list[str], Field(min_length=1)]
    real_sources: Annotated[list[str], Field(min_length=1)]


class FaceTrainingConfig(_Settings):
    """All settings of a fine-tuning on faces of every framing (`ecdd.training.face_run`).

    ``kept_of_start`` is the share of the weights begun with in those that ship: their mean with the weights trained
    further is surer on what neither was trained on (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    architecture: ArchitectureSettings
    degradations: DegradationRanges
    blended_share: Probability
    composited_share: Probability = 0.0
    source_weights: dict[str, Annotated[float, Field(gt=0, le=10)]] = Field(default_factory=dict)
    twins: Annotated[int, Field(ge=0, le=100_000)]
    own_forgeries: Annotated[int, Field(ge=0, le=100_000)] = 0
    validation_share: Annotated[float, Field(gt=0, lt=1)]
    folds: dict[str, FoldSettings]
    kept_of_start: Probability = 0.0
    fold_epochs: Annotated[int, Field(ge=1, le=10_000)]
    scored_of_train: Annotated[int, Field(ge=0)]
    optimise: OptimiseSettings
    # what the trainer asks every configuration for, and a fine-tuning on faces does not use
    augment: None = None
    forgeries: None = None
    distil: None = None

    @model_validator(mode="after")
    def _room_for_fakes(self) -> FaceTrainingConfig:
        if self.blended_share + self.composited_share > 1:
            msg = f"blended_share {self.blended_share} and composited_share {self.composited_share}: above 1 together"
            raise ValueError(msg)
        if self.kept_of_start and self.optimise.norm_statistics != "kept":
            msg = f"kept_of_start {self.kept_of_start}: means of weights fit optimise.norm_statistics kept only"
            raise ValueError(msg)
        if self.optimise.skipped_blocks and self.architecture.name != "lite":
            msg = f"optimise.skipped_blocks {self.optimise.skipped_blocks}: {self.architecture.name} has none to skip"
            raise ValueError(msg)
        return self

    def shares(self) -> DrawShares:
        """How fakes are drawn."""
        return DrawShares(self.blended_share, self.composited_share, self.source_weights)

    def of_fold(self) -> FaceTrainingConfig:
        """Make the settings of a fold: as many epochs as folds have, on parts of tensors only."""
        shorter = {"epochs": self.fold_epochs, "full_size_epochs": 0}
        return self.model_copy(update={"optimise": self.optimise.model_copy(update=shorter)})


def load_face_config(path: Path) -> FaceTrainingConfig:
    """Read the configuration of a fine-tuning on faces.

    Raises
    ------
    TrainingError
        As `load_config`; also where a source is left out by two folds.
    """
    config = _read(path, FaceTrainingConfig)
    sources = [name for fold in config.folds.values() for name in (*fold.fake_sources, *fold.real_sources)]
    if twice := sorted({name for name in sources if sources.count(name) > 1}):
        msg = f"{path}: folds: {', '.join(twice)} is left out twice; every source is scored by one fold"
        raise TrainingError(msg)
    return config


_Config = TypeVar("_Config", bound=BaseModel)


def _read(path: Path, kind: type[_Config]) -> _Config:
    try:
        return kind.model_validate(read_yaml(path))
    except OSError as error:
        msg = f"{path}: not a readable YAML file ({error})"
        raise TrainingError(msg) from error
    except ValidationError as error:
        raise TrainingError("\n".join(f"{path}: {_said(problem)}" for problem in error.errors())) from error


def _said(problem: ErrorDetails) -> str:
    """Key, value and why; what contradicts another key names both itself."""
    if not problem["loc"]:
        return problem["msg"]
    return f"{'.'.join(map(str, problem['loc']))} = {problem['input']!r:.200}: {problem['msg']}"


def load_config(path: Path, architecture: str | None = None) -> TrainingConfig:
    """Read a training configuration.

    Parameters
    ----------
    path : Path
        YAML file.
    architecture : str, optional
        What it must train.

    Returns
    -------
    TrainingConfig
        Checked settings.

    Raises
    ------
    TrainingError
        If the file is unreadable, a key is unknown, missing or out of range (every problem is listed), or it trains
        another architecture.
    """
    config = _read(path, TrainingConfig)
    if architecture not in {None, config.architecture.name}:
        msg = f"{path}: architecture.name is {config.architecture.name}, this command trains {architecture}"
        raise TrainingError(msg)
    return config
