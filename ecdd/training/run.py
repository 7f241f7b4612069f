"""A whole training: tensors, one training for each left-out pair of sources, the network that ships, the record."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageTag
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.usable_faces import TaggedRow, usable_faces
from ecdd.models.patch_network import PatchNetwork
from ecdd.training.cache import (
    Variant,
    cache_folder,
    fill_cache,
    load_variants,
    unreadable,
)
from ecdd.training.config import TrainingConfig, TrainingError
from ecdd.training.curves import write_figure
from ecdd.training.forged_cache import fill_forged_cache, forged_folder, load_forged
from ecdd.training.forgeries.registry import UnknownGeneratorError, find_generator
from ecdd.training.measuring import by_source, measure, score_variants
from ecdd.training.processes import Processes
from ecdd.training.run_folder import (
    FOLDS_FOLDER,
    SHIPPED_FOLDER,
    WEIGHTS_NAME,
    Progress,
    same_inputs,
    start_weights,
    write_record,
    write_weights,
)
from ecdd.training.sampling import BalancedSet, balanced
from ecdd.training.shortcut_audit import audit_lines, shortcut_audit
from ecdd.training.source_folds import SourceFold, fold_parts, source_folds
from ecdd.training.trainer import Start, outcome, train_network
from ecdd.training.training_record import (
    NOT_TESTED_ON,
    RECORD_SCHEMA,
    abstain_rates,
    picture_counts,
    set_summary,
    training_identity,
)

FIGURE_NAME = "curves.png"


@dataclass(frozen=True)
class RunOptions:
    """What the caller may choose beside the configuration.

    Attributes
    ----------
    out : Path
        Folder for weights, record and states; resumes what lies there.
    cache : Path
        Folder for tensors, outside the project.
    init : Path, optional
        Checkpoint to begin with.
    freeze : tuple of str
        Regular expressions of parameters that stay as they are.
    teacher : Path, optional
        Folder of a teacher's training: every training follows the teacher that saw the same sources.
    skip_bad : bool
        Leave out pictures that cannot be decoded, and say so in the record, instead of refusing to train.
    skipped : tuple of str
        Rows of the manifest that were left out before, for the record.
    """

    out: Path
    cache: Path
    init: Path | None = None
    freeze: tuple[str, ...] = ()
    teacher: Path | None = None
    skip_bad: bool = False
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Inputs:
    """All that every one of the trainings needs."""

    contract: LoadedContract
    config: TrainingConfig
    variants: list[Variant]
    identity: dict[str, str]
    options: RunOptions
    processes: Processes
    outcomes: dict[str, dict[str, int]]


def run_training(
    manifest: list[ManifestRow],
    split: DataSplit,
    contract: LoadedContract,
    config: TrainingConfig,
    options: RunOptions,
    processes: Processes,
    progress: Progress = lambda _: None,
    say: Progress = lambda _: None,
) -> dict[str, Any]:
    """Train once for every left-out pair of sources, then on every source, and write weights and record.

    Resumes where an interrupted run in the same folder stopped.

    Parameters
    ----------
    manifest : list of ManifestRow
        Labelled pictures; only lineage TRAIN is read.
    split : DataSplit
        Lineage tags.
    contract : LoadedContract
        Pipeline, gates, operator.
    config : TrainingConfig
        Settings.
    options : RunOptions
        Folders, start, teacher.
    processes : Processes
        This process among its peers.
    progress : callable
        Called with one line after every picture and epoch.
    say : callable
        Called with every line of the shortcut audit, before anything is trained.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    TrainingError, LineageError, CheckpointError
        Each says what to change.
    """
    _check_settings(config, options)
    faces = usable_faces(manifest, split, [LineageTag.TRAIN])
    folder = cache_folder(options.cache, contract, config)
    rows, bad = _readable(faces, contract, config, folder, options, processes, progress)
    audit = shortcut_audit(rows, contract, folder, config.seed) if processes.first else {}
    for line in audit_lines(audit) if audit else ():
        say(line)
    variants, left_out = _variants(rows, contract, config, options.cache, processes, progress)
    identity = training_identity(manifest, split, contract)
    inputs = _Inputs(contract, config, variants, identity, options, processes, left_out)
    folds = source_folds(config.leave_one_source_out) if config.leave_one_source_out else []
    table = [_one_training(inputs, fold, progress)[1] for fold in folds]
    model, shipped = _one_training(inputs, None, progress)
    about = {
        "schema_version": RECORD_SCHEMA,
        **identity,
        "pictures": picture_counts(rows),
        "skipped": {"manifest": list(options.skipped), "unreadable": bad},
        "shortcut_audit": audit,
        "tensors_by_outcome": left_out,
        "initialised_from": options.init.name if options.init else None,
        "frozen": list(options.freeze),
        "leave_one_source_out": table,
        "shipped": shipped,
        "not_tested_on": list(NOT_TESTED_ON),
    }
    return write_record(options.out, model, contract, config, processes, about)


def _readable(
    rows: list[TaggedRow],
    contract: LoadedContract,
    config: TrainingConfig,
    folder: Path,
    options: RunOptions,
    processes: Processes,
    progress: Progress,
) -> tuple[list[TaggedRow], list[str]]:
    """Fill the tensor cache in the first process, the others wait; pictures that cannot be decoded are all named."""
    if processes.first:
        for count, _ in enumerate(fill_cache(rows, contract, config, folder), start=1):
            progress(f"tensors: {count} of {len(rows)} pictures")
    processes.agree(None)
    bad = unreadable(rows, folder)
    if bad and not options.skip_bad:
        lines = [f"{len(bad)} pictures cannot be decoded; repair or remove them, or train with --skip-bad:", *bad]
        raise TrainingError("\n".join(lines))
    names = {line.rpartition(": ")[0] for line in bad}
    return [pair for pair in rows if pair[0].name not in names], bad


def _variants(
    rows: list[TaggedRow],
    contract: LoadedContract,
    config: TrainingConfig,
    cache: Path,
    processes: Processes,
    progress: Progress,
) -> tuple[list[Variant], dict[str, dict[str, int]]]:
    """Forge what is missing in the first process, the others wait; then list what passes the gates."""
    folder = cache_folder(cache, contract, config)
    generators = config.forgeries.generators if config.forgeries else []
    forged = {name: forged_folder(cache, contract, config, name) for name in generators}
    if processes.first:
        for name, place in forged.items():
            for count, _ in enumerate(fill_forged_cache(rows, contract, config, name, place), start=1):
                progress(f"{name}: {count} pictures")
    processes.agree(None)
    variants, outcomes = load_variants(rows, folder, contract.policy.quality_gates)
    for name, place in forged.items():
        made, counts = load_forged(rows, place, contract.policy.quality_gates, config, name)
        variants += made
        for source, reasons in counts.items():
            outcomes[source] |= reasons
    return variants, outcomes


def _one_training(inputs: _Inputs, fold: SourceFold | None, progress: Progress) -> tuple[PatchNetwork, dict[str, Any]]:
    config, policy, options = inputs.config, inputs.contract.policy, inputs.options
    place = Path(SHIPPED_FOLDER) if fold is None else Path(FOLDS_FOLDER) / fold.name
    out = options.out / place
    parts = fold_parts(inputs.variants, fold, config.validation_share, config.seed, config.measured_tensors)
    train = _balanced(place.name, "training", parts.train, config)
    validation = _balanced(place.name, "validation", parts.validation, config)
    if inputs.processes.first:
        same_inputs(out, _chosen(config, inputs.identity, options, place))
    start = _start(inputs, place)
    for epoch in train_network(config, policy, train, validation, out, start, inputs.processes):
        progress(f"{place.name}: epoch {epoch.epoch}, loss {epoch.loss:.4f}, validation AUC {epoch.validation_auc:.4f}")
    inputs.processes.agree(None)  # the first process has written its state
    result = outcome(config, policy, out)
    test = parts.test or parts.validation
    scores = score_variants(result.model, test, policy)
    sources = by_source(scores, test, config)
    if inputs.processes.first:
        write_weights(result.model, inputs.contract, out)
        write_figure(result.history, sources, out / FIGURE_NAME)
    return result.model, {
        "left_out": None if fold is None else asdict(fold),
        "abstain_rates": abstain_rates(inputs.outcomes, sorted({v.source for v in test})),
        "teacher_sha256": _teacher_sha256(options, place),
        "training": set_summary(train),
        "validation": set_summary(validation),
        "best": asdict(result.best),
        "history": [asdict(epoch) for epoch in result.history],
        "seconds": sum(epoch.seconds for epoch in result.history),
        "measured": measure(scores, parts.train, test, config),
        "by_source": {name: list(values) for name, values in sources.items()},
    }


def _balanced(training: str, part: str, variants: list[Variant], config: TrainingConfig) -> BalancedSet:
    try:
        return balanced(variants, config.sharpness_edges)
    except TrainingError as error:
        count = [len({v.sha256 for v in variants if v.label == label}) for label in (0, 1)]
        msg = f"{training}, {part} pictures ({count[0]} real, {count[1]} fake): {error}"
        raise TrainingError(msg) from error


def _start(inputs: _Inputs, place: Path) -> Start:
    """Load what a training begins with: a checkpoint of the caller, and the teacher of the same fold."""
    options, contract = inputs.options, inputs.contract
    init = None if options.init is None else start_weights(options.init, contract).state_dict()
    teacher = None
    if options.teacher is not None:
        teacher = start_weights(_teacher_weights(options.teacher, place), contract)
        teacher = teacher.eval().to(inputs.processes.device)
    return Start(init, options.freeze, teacher)


def _teacher_weights(folder: Path, place: Path) -> Path:
    return folder / (WEIGHTS_NAME if place.name == SHIPPED_FOLDER else place / WEIGHTS_NAME)


def _teacher_sha256(options: RunOptions, place: Path) -> str | None:
    if options.teacher is None:
        return None
    path = _teacher_weights(options.teacher, place)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _check_settings(config: TrainingConfig, options: RunOptions) -> None:
    try:
        for name in config.forgeries.generators if config.forgeries else ():
            find_generator(name)
    except UnknownGeneratorError as error:
        msg = f"forgeries.generators: {error}"
        raise TrainingError(msg) from error
    if config.distil is not None and options.teacher is None:
        msg = "distil: the configuration follows a teacher; name its training with --teacher FOLDER"
        raise TrainingError(msg)
    if options.teacher is not None and config.distil is None:
        msg = f"--teacher {options.teacher}: the configuration has no section distil; add one, or leave --teacher out"
        raise TrainingError(msg)


def _chosen(config: TrainingConfig, identity: dict[str, str], options: RunOptions, place: Path) -> dict[str, Any]:
    """What a training's state depends on, so that no state is resumed with other inputs."""
    return {
        "config": config.model_dump(mode="json"),
        "init": options.init.name if options.init else None,
        "freeze": list(options.freeze),
        "teacher": options.teacher.name if options.teacher else None,
        "teacher_sha256": _teacher_sha256(options, place),
        **identity,
    }
