"""Train the student on cached tensors: seeded, resumable, stopped on sources it was not trained on."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ecdd.calibration.metrics import auc, negative_log_likelihood
from ecdd.contract.schema import PolicyContract
from ecdd.files import write_bytes, write_text
from ecdd.models.tiny_ladeda import TinyLaDeDa, seeded_student
from ecdd.pipeline.preprocess import normalise
from ecdd.training.cache import Variant
from ecdd.training.config import OptimiseSettings, TrainingConfig, TrainingError
from ecdd.training.sampling import BalancedSet, draw

STATE_FILE = "state.pt"
LOG_FILE = "log.csv"


@dataclass(frozen=True)
class EpochRecord:
    """One line of the log.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean training loss.
    validation_auc, validation_nll : float
        On the validation sources, averaged weights, each (stratum, colour mode, class) weighing alike.
    learning_rate : float
        At the end of the epoch.
    seconds : float
        Wall time.
    """

    epoch: int
    loss: float
    validation_auc: float
    validation_nll: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Attributes
    ----------
    model : TinyLaDeDa
        Averaged weights of the best epoch, evaluation mode.
    best : EpochRecord
        That epoch.
    history : tuple of EpochRecord
        Every epoch.
    """

    model: TinyLaDeDa
    best: EpochRecord
    history: tuple[EpochRecord, ...]


class _Run:
    """Everything that changes while training; saved after every epoch."""

    def __init__(self, config: TrainingConfig, policy: PolicyContract) -> None:
        grid = policy.patch_grid
        self.model = seeded_student(config.seed, grid.input_operator, grid.operator_scale)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = seeded_student(config.seed, grid.input_operator, grid.operator_scale)
        self.best = {k: v.clone() for k, v in self.averaged.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=config.optimise.learning_rate, weight_decay=config.optimise.weight_decay
        )
        self.history: list[EpochRecord] = []
        self.step = 0

    def save(self, path: Path) -> None:
        buffer = io.BytesIO()
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "history": [asdict(record) for record in self.history],
            "step": self.step,
        }
        torch.save(state, buffer)
        write_bytes(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.averaged.load_state_dict(state["averaged"])
            self.best = state["best"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.history = [EpochRecord(**record) for record in state["history"]]
            self.step = int(state["step"])
        except Exception as error:  # torch raises many kinds for a damaged file
            msg = f"{path}: cannot resume from it ({type(error).__name__}: {error}); delete it to start again"
            raise TrainingError(msg) from error


def train_student(
    config: TrainingConfig, policy: PolicyContract, train: BalancedSet, validation: BalancedSet, out: Path
) -> Iterator[EpochRecord]:
    """Train epoch by epoch; resumes from the folder's state when there is one.

    The random numbers of an epoch depend on seed and epoch only, so a resumed training equals an unbroken one.

    Parameters
    ----------
    config : TrainingConfig
        Settings.
    policy : PolicyContract
        Operator and normalisation.
    train, validation : BalancedSet
        Disjoint by near-duplicate group; validation decides when to stop.
    out : Path
        Folder for state and log.

    Yields
    ------
    EpochRecord
        After every epoch, including those that were resumed.

    Raises
    ------
    TrainingError
        If the loss is not finite, or the saved state is damaged.
    """
    torch.use_deterministic_algorithms(True)
    run, settings = _Run(config, policy), config.optimise
    if (out / STATE_FILE).is_file():
        run.restore(out / STATE_FILE)
        yield from run.history
    while len(run.history) < settings.epochs and not _stalled(run.history, settings):
        start, epoch = time.perf_counter(), len(run.history) + 1
        loss = _one_epoch(run, config, policy, train, epoch)
        logits = pooled_logits(run.averaged, validation.variants, policy)
        labels, weights = validation.labels(), validation.weights()
        record = EpochRecord(
            epoch,
            loss,
            auc(logits, labels, weights),
            _weighted_nll(logits, labels, weights),
            run.optimiser.param_groups[0]["lr"],
            time.perf_counter() - start,
        )
        run.history.append(record)
        if _best(run.history, settings) == record:
            run.best = {k: v.clone() for k, v in run.averaged.state_dict().items()}
        run.save(out / STATE_FILE)
        _write_log(run.history, out / LOG_FILE)
        yield record


def outcome(config: TrainingConfig, policy: PolicyContract, out: Path) -> Outcome:
    """Read a finished (or interrupted) training back.

    Raises
    ------
    TrainingError
        If the folder holds no epoch.
    """
    run = _Run(config, policy)
    if (out / STATE_FILE).is_file():
        run.restore(out / STATE_FILE)
    if not run.history:
        msg = f"{out}: no finished epoch in it; train first"
        raise TrainingError(msg)
    run.averaged.load_state_dict(run.best)
    return Outcome(run.averaged.eval(), _best(run.history, config.optimise), tuple(run.history))


def pooled_logits(model: TinyLaDeDa, variants: list[Variant], policy: PolicyContract) -> NDArray[np.float64]:
    """Score variants with the torch model: mean of the patch map, float32 network, float64 mean.

    Parameters
    ----------
    model : TinyLaDeDa
        Any mode; evaluated in evaluation mode.
    variants : list of Variant
        n tensors.
    policy : PolicyContract
        Normalisation.

    Returns
    -------
    ndarray, float64, shape (n,)
        Pooled logits.
    """
    training = model.training
    model.eval()
    out = np.empty(len(variants))
    with torch.inference_mode():
        for start in range(0, len(variants), 8):
            chunk = variants[start : start + 8]
            batch = torch.from_numpy(np.stack([normalise(v.s3(), policy.pixel_pipeline) for v in chunk]))
            maps = model(batch.permute(0, 3, 1, 2))
            out[start : start + len(chunk)] = maps.double().mean(dim=(1, 2)).numpy()
    model.train(training)
    return out


def _one_epoch(run: _Run, config: TrainingConfig, policy: PolicyContract, data: BalancedSet, epoch: int) -> float:
    settings = config.optimise
    rng = np.random.default_rng([config.seed, epoch])
    positions = draw(data, settings.draws, rng)
    run.model.train()
    losses = []
    for start in range(0, len(positions) - settings.batch + 1, settings.batch):
        variants = [data.variants[int(k)] for k in positions[start : start + settings.batch]]
        batch, labels = _batch(variants, policy, settings.crop, rng)
        for group in run.optimiser.param_groups:
            group["lr"] = _learning_rate(run.step, settings)
        loss = _loss(run.model(batch), labels, settings)
        if not torch.isfinite(loss):
            msg = f"epoch {epoch}: the loss is {loss.item()}; lower optimise.learning_rate {settings.learning_rate}"
            raise TrainingError(msg)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        run.optimiser.step()
        run.step += 1
        _average(run, settings.average)
        losses.append(loss.item())
    return float(np.mean(losses))


def _batch(
    variants: list[Variant], policy: PolicyContract, crop: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Make a batch of S4 parts; offsets are even, because NPR knows even pixels from odd ones."""
    side = policy.pixel_pipeline.input_size
    parts = np.empty((len(variants), crop, crop, 3), np.float32)
    for k, variant in enumerate(variants):
        y, x = (2 * int(v) for v in rng.integers((side - crop) // 2 + 1, size=2))
        parts[k] = normalise(np.ascontiguousarray(variant.s3()[y : y + crop, x : x + crop]), policy.pixel_pipeline)
    labels = torch.tensor([float(v.label) for v in variants])
    return torch.from_numpy(parts).permute(0, 3, 1, 2), labels


def _loss(maps: Tensor, labels: Tensor, settings: OptimiseSettings) -> Tensor:
    target = labels * (1 - 2 * settings.label_smoothing) + settings.label_smoothing
    pooled = functional.binary_cross_entropy_with_logits(maps.mean(dim=(1, 2)), target)
    if not settings.cell_loss:
        return pooled
    cells = functional.binary_cross_entropy_with_logits(maps, target[:, None, None].expand_as(maps))
    return pooled + settings.cell_loss * cells


def _learning_rate(step: int, settings: OptimiseSettings) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    per_epoch = settings.draws // settings.batch
    warm, total = settings.warmup_epochs * per_epoch, settings.epochs * per_epoch
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    return settings.learning_rate * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(total - warm, 1))))


def _average(run: _Run, decay: float) -> None:
    """Move the averaged weights and batch-norm statistics towards the current ones; faster in the beginning."""
    decay = min(decay, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        for old, new in zip(run.averaged.state_dict().values(), run.model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def _best(history: list[EpochRecord], settings: OptimiseSettings) -> EpochRecord:
    """First epoch of the largest validation AUC after warm-up; the last one while nothing else is there."""
    trained = [record for record in history if record.epoch > settings.warmup_epochs]
    return max(trained, key=lambda record: record.validation_auc) if trained else history[-1]


def _stalled(history: list[EpochRecord], settings: OptimiseSettings) -> bool:
    if not history:
        return False
    return history[-1].epoch - _best(history, settings).epoch >= settings.patience


def _weighted_nll(logits: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    negative_log_likelihood(logits, labels)  # refuses what is not finite
    losses = np.logaddexp(0, logits) - labels * logits
    return float(np.average(losses, weights=weights))


def _write_log(history: list[EpochRecord], path: Path) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(asdict(history[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    write_text(path, buffer.getvalue())
