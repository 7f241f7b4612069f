"""Train a network on cached tensors: seeded, resumable bit by bit, on one process or several."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecdd.calibration.metrics import auc, negative_log_likelihood
from ecdd.contract.schema import PolicyContract
from ecdd.files import write_bytes, write_text
from ecdd.models.architectures import build_network
from ecdd.models.lite import Lite
from ecdd.models.patch_network import PatchNetwork
from ecdd.training.batches import Batch, make_batch, mixed, pooled_logits
from ecdd.training.config import FaceTrainingConfig, OptimiseSettings, TrainingConfig, TrainingError
from ecdd.training.curves import EpochRecord, log_text
from ecdd.training.face_draws import FaceDraws, FaceSet
from ecdd.training.head_start import fit_heads
from ecdd.training.losses import training_loss
from ecdd.training.optimising import freeze, learning_rate, move_average, norms, parameter_groups, precision
from ecdd.training.processes import Processes
from ecdd.training.sampling import BalancedSet, draw

STATE_FILE = "state.pt"
LOG_FILE = "log.csv"


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Attributes
    ----------
    init : dict of str to Tensor, optional
        State to begin with, of the same architecture.
    freeze : tuple of str
        Regular expressions; parameters whose name one of them matches from its start stay as they are.
    teacher : PatchNetwork, optional
        Network to follow, on the device of the training.
    """

    init: dict[str, torch.Tensor] | None = None
    freeze: tuple[str, ...] = ()
    teacher: PatchNetwork | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Attributes
    ----------
    model : PatchNetwork
        Averaged weights of the best epoch, evaluation mode, on the CPU.
    best : EpochRecord
        That epoch.
    history : tuple of EpochRecord
        Every epoch.
    """

    model: PatchNetwork
    best: EpochRecord
    history: tuple[EpochRecord, ...]


class _Run:
    """Everything that changes while training; saved after every epoch."""

    def __init__(
        self, config: TrainingConfig | FaceTrainingConfig, policy: PolicyContract, start: Start, processes: Processes
    ) -> None:
        self.model = seeded_network(config, policy, start.init)
        self.frozen = freeze(self.model, (*start.freeze, *config.optimise.freeze))
        if isinstance(self.model, Lite):
            self.model.skip_blocks(config.optimise.skipped_blocks)
        self.model.to(processes.device)
        self.parallel = processes.wrap(self.model)
        self.averaged = seeded_network(config, policy, start.init).eval().to(processes.device)
        self.best = _copy(self.averaged)
        settings = config.optimise
        if settings.channels_last:
            for network in (self.model, self.averaged):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        groups, self.factors = parameter_groups(self.model, settings)
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.kept_statistics = settings.norm_statistics == "kept"
        self.history: list[EpochRecord] = []
        self.step = 0
        self.processes = processes

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
        state = _read_state(path, self.processes.device)
        try:
            self.model.load_state_dict(state["model"])
            self.averaged.load_state_dict(state["averaged"])
            self.best = state["best"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.history = _history(state)
            self.step = int(state["step"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            msg = f"{path}: cannot resume from it ({type(error).__name__}: {error}); delete it to start again"
            raise TrainingError(msg) from error

    def train_mode(self) -> None:
        """Training mode; batch norms whose weights are frozen, or all where asked for, keep their statistics."""
        self.parallel.train()
        for module in norms(self.model) if self.kept_statistics else self.frozen:
            module.eval()


def seeded_network(
    config: TrainingConfig | FaceTrainingConfig, policy: PolicyContract, init: dict[str, torch.Tensor] | None = None
) -> PatchNetwork:
    """Build the network of a configuration, from its seed or from a state.

    Raises
    ------
    TrainingError
        If the state has other keys or shapes.
    """
    grid, network = policy.patch_grid, config.architecture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_network(network.name, grid.input_operator, grid.operator_scale, network.width)
    if init is not None:
        try:
            model.load_state_dict(init, strict=True)
        except RuntimeError as error:
            msg = f"--init does not fit {network.name} of width {network.width}: {error}"
            raise TrainingError(msg) from error
    return model


def train_network(
    config: TrainingConfig | FaceTrainingConfig,
    policy: PolicyContract,
    train: BalancedSet | FaceDraws,
    validation: BalancedSet | FaceSet,
    out: Path,
    start: Start,
    processes: Processes,
) -> Iterator[EpochRecord]:
    """Train epoch by epoch; resumes from the folder's state when there is one.

    The random numbers of an epoch depend on seed and epoch only and the state is replaced atomically after every
    epoch, so a training that was interrupted anywhere, and resumed, equals an unbroken one.

    Parameters
    ----------
    config : TrainingConfig or FaceTrainingConfig
        Settings.
    policy : PolicyContract
        Operator, grid and normalisation.
    train, validation : BalancedSet, or FaceDraws and FaceSet
        Disjoint by near-duplicate group; validation decides when to stop.
    out : Path
        Folder for state and log.
    start : Start
        Weights to begin with, teacher.
    processes : Processes
        This process among its peers.

    Yields
    ------
    EpochRecord
        After every epoch, including those that were resumed.

    Raises
    ------
    TrainingError
        If the loss is not finite (the state of the last good epoch stays), or the saved state is damaged.
    """
    torch.use_deterministic_algorithms(True)
    settings = config.optimise
    if settings.batch % processes.count:
        msg = f"optimise.batch {settings.batch} cannot be shared by {processes.count} processes; choose a multiple"
        raise TrainingError(msg)
    run = _Run(config, policy, start, processes)
    if (out / STATE_FILE).is_file():
        run.restore(out / STATE_FILE)
        yield from run.history
    elif settings.head_start_draws and isinstance(train, FaceDraws) and isinstance(run.model, Lite):
        fit_heads(run.model, train, settings.head_start_draws, settings.batch, settings.crop)
        run.averaged.load_state_dict(run.model.state_dict())
    while len(run.history) < settings.epochs and not _stalled(run.history, settings):
        began, epoch = time.perf_counter(), len(run.history) + 1
        loss = _one_epoch(run, config, policy, train, epoch, start.teacher)
        record = EpochRecord(epoch, loss, 0.0, 0.0, 0.0, 0.0)
        if processes.first:
            record = _validate(run, policy, validation, (epoch, loss, began))
        record = processes.agree(record)
        run.history.append(record)
        if best_epoch(run.history, settings) == record:
            run.best = _copy(run.averaged)
        if processes.first:
            run.save(out / STATE_FILE)
            write_text(out / LOG_FILE, log_text(run.history))
        yield record


def outcome(config: TrainingConfig | FaceTrainingConfig, policy: PolicyContract, out: Path) -> Outcome:
    """Read a finished (or interrupted) training back.

    Raises
    ------
    TrainingError
        If the folder holds no epoch.
    """
    path = out / STATE_FILE
    if not path.is_file():
        msg = f"{out}: no finished epoch in it; train first"
        raise TrainingError(msg)
    state = _read_state(path, "cpu")
    try:
        model, history = seeded_network(config, policy, state["best"]), _history(state)
    except (KeyError, TypeError) as error:
        msg = f"{path}: cannot resume from it ({type(error).__name__}: {error}); delete it to start again"
        raise TrainingError(msg) from error
    return Outcome(model.eval(), best_epoch(history, config.optimise), tuple(history))


def _read_state(path: Path, device: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    except Exception as error:  # torch raises many kinds for a damaged file
        msg = f"{path}: cannot resume from it ({type(error).__name__}: {error}); delete it to start again"
        raise TrainingError(msg) from error
    return state


def _history(state: dict[str, Any]) -> list[EpochRecord]:
    return [EpochRecord(**record) for record in state["history"]]


def best_epoch(history: list[EpochRecord], settings: OptimiseSettings) -> EpochRecord:
    """First epoch of the largest validation AUC after warm-up, or the last one where the settings choose it."""
    if settings.choose == "last":
        return history[-1]
    trained = [record for record in history if record.epoch > settings.warmup_epochs]
    return max(trained, key=lambda record: record.validation_auc) if trained else history[-1]


def _one_epoch(
    run: _Run,
    config: TrainingConfig | FaceTrainingConfig,
    policy: PolicyContract,
    data: BalancedSet | FaceDraws,
    epoch: int,
    teacher: PatchNetwork | None,
) -> float:
    settings = config.optimise
    run.train_mode()
    # stochastic depth draws from torch's own generator: of seed, epoch and process alone, so that resuming is exact
    torch.manual_seed(int(np.random.SeedSequence([config.seed, epoch, run.processes.rank]).generate_state(1)[0]))
    losses = []
    if isinstance(data, FaceDraws):
        batches = _faces(run, config, policy, data, epoch)
    else:
        assert isinstance(config, TrainingConfig)
        batches = _variants(run, config, policy, data, epoch)
    for batch in batches:
        for group, factor in zip(run.optimiser.param_groups, run.factors, strict=True):
            group["lr"] = learning_rate(run.step, settings) * factor
        loss = _step(run, config, policy, batch, epoch, teacher)
        losses.append(loss)
    return float(np.mean(losses))


def _variants(
    run: _Run, config: TrainingConfig, policy: PolicyContract, data: BalancedSet, epoch: int
) -> Iterator[Batch]:
    settings = config.optimise
    rng = np.random.default_rng([config.seed, epoch])
    positions = draw(data, settings.draws, rng, config.forgeries.share if config.forgeries else 0.0)
    for begin in range(0, len(positions) - settings.batch + 1, settings.batch):
        variants = [data.variants[int(k)] for k in positions[begin : begin + settings.batch]]
        own = np.random.default_rng([config.seed, epoch, begin, run.processes.rank])
        yield make_batch(run.processes.share(variants), policy, settings.crop, config.augment, own)


def _faces(
    run: _Run, config: TrainingConfig | FaceTrainingConfig, policy: PolicyContract, data: FaceDraws, epoch: int
) -> Iterator[Batch]:
    """Batches of faces: parts of them first, whole tensors in the last epochs; each process draws its own."""
    settings = config.optimise
    whole = epoch > settings.epochs - settings.full_size_epochs
    size = settings.batch // run.processes.count
    for begin in range(0, settings.draws - settings.batch + 1, settings.batch):
        first = begin + run.processes.rank * size
        batch = data.batch(size, policy.pixel_pipeline.input_size if whole else settings.crop, (epoch, first))
        if settings.mixup:
            batch = mixed(batch, settings.mixup, np.random.default_rng([config.seed, epoch, first]))
        yield batch


def _step(
    run: _Run,
    config: TrainingConfig | FaceTrainingConfig,
    policy: PolicyContract,
    batch: Batch,
    epoch: int,
    teacher: PatchNetwork | None,
) -> float:
    settings, device = config.optimise, run.processes.device
    tensors = batch.tensors.to(device)
    if settings.channels_last:
        tensors = tensors.contiguous(memory_format=torch.channels_last)
    with precision(settings, device):
        maps = run.parallel(tensors)
        with torch.no_grad():
            followed = None if teacher is None else teacher(tensors).float()
    loss = training_loss(
        maps.float(),
        batch.labels.to(device),
        (batch.masks.to(device), batch.known.to(device)),
        followed,
        (settings, config.distil),
        policy,
        first_stage=config.distil is not None and epoch <= config.distil.first_stage_epochs,
    )
    if not torch.isfinite(loss):
        msg = (
            f"epoch {epoch}: the loss is {loss.item()}; lower optimise.learning_rate {settings.learning_rate}. "
            f"The state of epoch {epoch - 1} is kept"
        )
        raise TrainingError(msg)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    move_average(run.averaged, run.model, settings.average, run.step)
    return loss.item()


def _validate(
    run: _Run, policy: PolicyContract, validation: BalancedSet | FaceSet, known: tuple[int, float, float]
) -> EpochRecord:
    epoch, loss, began = known
    given = validation.variants if isinstance(validation, BalancedSet) else validation.tensors
    logits = pooled_logits(run.averaged, given, policy, run.processes.device)
    labels, weights = validation.labels(), validation.weights()
    return EpochRecord(
        epoch,
        loss,
        auc(logits, labels, weights),
        _weighted_nll(logits, labels, weights),
        run.optimiser.param_groups[0]["lr"],
        time.perf_counter() - began,
    )


def _copy(model: PatchNetwork) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _stalled(history: list[EpochRecord], settings: OptimiseSettings) -> bool:
    if not history:
        return False
    return history[-1].epoch - best_epoch(history, settings).epoch >= settings.patience


def _weighted_nll(logits: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    negative_log_likelihood(logits, labels)  # refuses what is not finite
    losses = np.logaddexp(0, logits) - labels * logits
    return float(np.average(losses, weights=weights))
