"""A whole fine-tuning on faces: regions, twins, one training a fold, the network that ships, scores and record."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.calibration.metrics import auc, bootstrap_interval
from ecdd.calibration.unseen_sources import COLUMNS as CROSS_FITTED_COLUMNS
from ecdd.calibration.unseen_sources import CROSS_FITTED_FILE
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageTag
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.usable_faces import usable_faces
from ecdd.files import read_json, read_text, write_text
from ecdd.models.patch_network import PatchNetwork
from ecdd.training.batches import pooled_logits
from ecdd.training.config import FaceTrainingConfig, FoldSettings, TrainingError
from ecdd.training.face_draws import FaceDraws, FaceSet, measured_tensors
from ecdd.training.face_regions import (
    FaceRegion,
    fill_regions,
    fill_twins,
    load_regions,
    load_twins,
    region_folder,
    twin_candidates,
)
from ecdd.training.forgeries.latent_twin import LatentAutoencoder
from ecdd.training.optimising import mean_with_start
from ecdd.training.own_forgeries import fill_forgeries, load_forgeries
from ecdd.training.processes import Processes
from ecdd.training.run_folder import (
    FOLDS_FOLDER,
    RECORD_NAME,
    SHIPPED_FOLDER,
    Progress,
    same_inputs,
    start_weights,
    write_record,
    write_weights,
)
from ecdd.training.trainer import Start, outcome, train_network
from ecdd.training.training_record import picture_counts, training_identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORES_NAME: Final = "scores.csv"
RECORD_SCHEMA: Final = 3
FILE: Final = "file"
KINDS: Final = (FILE, "harmonised")
COLUMNS: Final = ("training", "sha256", "source", "label", "lineage", "kind", "logit")
SHIPPED: Final = "shipped"
NOT_TESTED_ON: Final = (
    "any generator, swap or editor that is not among the sources of this record",
    "video frames other than DFDC's, reenactment, lip-sync, printed or re-photographed pictures",
    "phones: all latency and parity figures come from a desktop CPU",
    "balance over age, gender or skin tone: the manifests have no such columns",
    "CUDA: a code path that was never run",
)


@dataclass(frozen=True)
class FaceRunOptions:
    """What the caller may choose beside the configuration.

    Attributes
    ----------
    out : Path
        Folder for weights, record and states; resumes what lies there.
    cache : Path
        Folder for face regions, outside the project.
    init : Path
        Weights to begin with.
    autoencoder : Path, optional
        Folder of the latent autoencoder; needed where the settings ask for twins.
    only : tuple of str
        Trainings to run: names of folds, or ``shipped``. All of them, and the record, where none is named.
    """

    out: Path
    cache: Path
    init: Path
    autoencoder: Path | None = None
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Inputs:
    contract: LoadedContract
    config: FaceTrainingConfig
    regions: list[FaceRegion]
    forged: list[FaceRegion]
    options: FaceRunOptions
    processes: Processes
    identity: dict[str, str]


def run_face_training(
    manifest: list[ManifestRow],
    split: DataSplit,
    contract: LoadedContract,
    config: FaceTrainingConfig,
    options: FaceRunOptions,
    processes: Processes,
    progress: Progress = lambda _: None,
) -> dict[str, Any] | None:
    """Train every fold and the network that ships; score what each did not see.

    Parameters
    ----------
    manifest : list of ManifestRow
        Labelled pictures; TRAIN is trained on, TRAIN and CALIBRATION are scored.
    split : DataSplit
        Lineage tags.
    contract : LoadedContract
        Pipeline, operator, pooling.
    config : FaceTrainingConfig
        Settings.
    options : FaceRunOptions
        Folders, start, which trainings.
    processes : Processes
        This process among its peers.
    progress : callable
        Called with one line after every picture and epoch.

    Returns
    -------
    dict or None
        The record; None where only some trainings were asked for.

    Raises
    ------
    TrainingError, LineageError, CheckpointError
        Each says what to change.
    """
    if unknown := sorted(set(options.only) - {SHIPPED, *config.folds}):
        msg = f"--only {', '.join(unknown)}: no such training; there are {SHIPPED}, {', '.join(config.folds)}"
        raise TrainingError(msg)
    faces = usable_faces(manifest, split, [LineageTag.TRAIN, LineageTag.CALIBRATION])
    folder = region_folder(options.cache, contract)
    if processes.first:
        for count, _ in enumerate(fill_regions(faces, contract, folder), start=1):
            progress(f"faces: {count} of {len(faces)}")
    processes.agree(None)
    regions, outcomes = load_regions(faces, folder)
    twins = _twins(regions, config, options, folder, processes, progress)
    forged = _own_forgeries(regions, contract, config.own_forgeries, folder, processes, progress)
    inputs = _Inputs(
        contract, config, regions, [*twins, *forged], options, processes, training_identity(manifest, split, contract)
    )
    names = [name for name in (*config.folds, SHIPPED) if not options.only or name in options.only]
    parts = {name: _one_training(inputs, name, progress) for name in names}
    if options.only or not processes.first:
        return None
    trained = outcome(config, contract.policy, options.out / SHIPPED_FOLDER).model
    model = mean_with_start(trained, start_weights(options.init, contract), config.kept_of_start)
    about = {
        "schema_version": RECORD_SCHEMA,
        **inputs.identity,
        "pictures": picture_counts([pair for pair in faces if pair[1].lineage is LineageTag.TRAIN]),
        "faces_found": outcomes,
        "twins": len(twins) // 2,
        "own_forgeries": _counts(forged),
        "initialised_from": options.init.name,
        "begun_from": _record_beside(options.init),
        "trainings": parts,
        "left_out": left_out_summary(parts),
        "not_tested_on": list(NOT_TESTED_ON),
    }
    cross_fitted = options.init.with_name(CROSS_FITTED_FILE)
    if config.folds or not cross_fitted.is_file():
        text = cross_fitted_text(options.out, config.folds)
    else:
        text = cross_fitted.read_text(encoding="utf-8")
    write_text(options.out / CROSS_FITTED_FILE, text)
    return write_record(options.out, model, contract, config, processes, about)


def _record_beside(weights: Path) -> dict[str, Any] | None:
    """Read the record of the training that made the weights, where they come from one and not from a package."""
    path = weights.with_name(RECORD_NAME)
    found: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return found


def cross_fitted_text(out: Path, folds: Collection[str]) -> str:
    """Gather every fold's scores of the files that it did not see, for thresholds that hold on new sources (E6.5).

    Parameters
    ----------
    out : Path
        Folder of a training whose folds are scored.
    folds : collection of str
        Names; the family of a fake is the fold that left it out.

    Returns
    -------
    str
        CSV with the columns of `ecdd.calibration.unseen_sources`.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CROSS_FITTED_COLUMNS)
    for name in sorted(folds):
        for row in read_scores(_place(out, name) / SCORES_NAME):
            if row["kind"] == FILE:
                family = name if row["label"] == "1" else row["source"]
                writer.writerow((row["sha256"], row["label"], row["source"], family, name, row["logit"]))
    return buffer.getvalue()


def _twins(
    regions: list[FaceRegion],
    config: FaceTrainingConfig,
    options: FaceRunOptions,
    folder: Path,
    processes: Processes,
    progress: Progress,
) -> list[FaceRegion]:
    if not config.twins:
        return []
    place = folder.with_name(f"{folder.name}-twins")
    chosen = twin_candidates([region for region in regions if region.lineage == LineageTag.TRAIN], config.twins)
    missing = [region for region in chosen if not (place / f"{region.sha256}.json").is_file()]
    if missing and processes.first:
        if options.autoencoder is None:
            msg = f"twins: {len(missing)} of {len(chosen)} are to be made; name the autoencoder's folder: --autoencoder"
            raise TrainingError(msg)
        for count, _ in enumerate(fill_twins(missing, LatentAutoencoder(options.autoencoder), place), start=1):
            progress(f"twins: {count} of {len(missing)}")
    processes.agree(None)
    return load_twins(chosen, place)


def _own_forgeries(
    regions: list[FaceRegion],
    contract: LoadedContract,
    count: int,
    folder: Path,
    processes: Processes,
    progress: Progress,
) -> list[FaceRegion]:
    if not count:
        return []
    place = folder.with_name(f"{folder.name}-forgeries")
    if processes.first:
        for done, _ in enumerate(fill_forgeries(regions, contract, count, place), start=1):
            progress(f"forgeries: {done} of {2 * count}")
    processes.agree(None)
    return load_forgeries(regions, count, place)


def _one_training(inputs: _Inputs, name: str, progress: Progress) -> dict[str, Any]:
    """Train (or resume) one network, score what it did not see, and describe it."""
    fold = inputs.config.folds.get(name)
    config = inputs.config if fold is None else inputs.config.of_fold()
    policy, out = inputs.contract.policy, _place(inputs.options.out, name)
    train, watched = _train_parts(inputs, fold)
    draws = FaceDraws(train, policy.pixel_pipeline, config.degradations, config.shares(), config.seed)
    validation = FaceSet(list(measured_tensors(watched, policy.pixel_pipeline, "harmonised", config.seed)))
    same_inputs(out, {"config": config.model_dump(mode="json"), "init": inputs.options.init.name,
                      "forged": _counts(inputs.forged), **inputs.identity})  # fmt: skip
    start = Start(start_weights(inputs.options.init, inputs.contract).state_dict())
    for epoch in train_network(config, policy, draws, validation, out, start, inputs.processes):
        progress(f"{name}: epoch {epoch.epoch}, loss {epoch.loss:.4f}, watched AUC {epoch.validation_auc:.4f}")
    inputs.processes.agree(None)
    result = outcome(config, policy, out)
    if inputs.processes.first and not (out / SCORES_NAME).is_file():
        begun_with = start_weights(inputs.options.init, inputs.contract)
        model = mean_with_start(result.model, begun_with, config.kept_of_start)
        write_weights(model, inputs.contract, out)
        write_text(out / SCORES_NAME, _scores_text(inputs, name, model, _scored_regions(inputs, fold)))
    inputs.processes.agree(None)  # the other processes read the scores, too
    return {
        "left_out": None if fold is None else fold.model_dump(mode="json"),
        "training": _counts(train),
        "history": [asdict(epoch) for epoch in result.history],
        "seconds": sum(epoch.seconds for epoch in result.history),
        "measured": summarise(read_scores(out / SCORES_NAME)),
    }


def _place(out: Path, name: str) -> Path:
    return out / SHIPPED_FOLDER if name == SHIPPED else out / FOLDS_FOLDER / name


def _train_parts(inputs: _Inputs, fold: FoldSettings | None) -> tuple[list[FaceRegion], list[FaceRegion]]:
    """What is trained on and what is only watched: by near-duplicate group, without the sources left out."""
    left_out = set() if fold is None else {*fold.fake_sources, *fold.real_sources}
    own = [region for region in inputs.regions if region.lineage == LineageTag.TRAIN]
    if missing := sorted(left_out - {region.source for region in own}):
        msg = f"folds: no face of source {', '.join(missing)}; correct settings or data"
        raise TrainingError(msg)
    touched = {region.group for region in own if region.source in left_out}
    rest = [region for region in own if region.group not in touched]
    rng = np.random.default_rng(inputs.config.seed)
    held: set[str] = set()
    for source in sorted({region.source for region in rest}):
        groups = sorted({region.group for region in rest if region.source == source} - held)
        count = round(inputs.config.validation_share * len(groups))
        held.update(str(group) for group in rng.permutation(groups)[:count])
    train = [region for region in rest if region.group not in held]
    train += [one for one in inputs.forged if one.group not in held | touched]
    return train, [region for region in rest if region.group in held]


def _scored_regions(inputs: _Inputs, fold: FoldSettings | None) -> list[FaceRegion]:
    """What a training did not see: of a fold some pictures of its sources, of the shipped one those of CALIBRATION."""
    if fold is None:
        return [region for region in inputs.regions if region.lineage == LineageTag.CALIBRATION]
    chosen = []
    for source in sorted({*fold.fake_sources, *fold.real_sources}):
        mine = [region for region in inputs.regions if region.source == source]
        chosen += [region for region in mine if region.lineage == LineageTag.CALIBRATION]
        chosen += [region for region in mine if region.lineage == LineageTag.TRAIN][: inputs.config.scored_of_train]
    return chosen


def _scores_text(inputs: _Inputs, name: str, model: PatchNetwork, regions: Sequence[FaceRegion]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    policy, device = inputs.contract.policy, "cpu"
    for kind in KINDS:
        faces = list(measured_tensors(regions, policy.pixel_pipeline, kind, inputs.config.seed))
        logits = pooled_logits(model, faces, policy, device)
        for face, logit in zip(faces, logits, strict=True):
            one = face.region
            writer.writerow((name, one.sha256, one.source, one.label, one.lineage, kind, f"{logit:.6f}"))
    return buffer.getvalue()


def read_scores(path: Path) -> list[dict[str, str]]:
    """Read a file of scores, one dict a row, by the names of `COLUMNS`."""
    return list(csv.DictReader(io.StringIO(read_text(path))))


def summarise(scores: Sequence[dict[str, str]]) -> dict[str, Any]:
    """AUC of all scores of a kind, and of every source against the other class.

    Returns
    -------
    dict
        By kind: ``auc``, its 95 % bootstrap ``interval``, ``pictures`` by class, ``by_source``; None where a class is
        missing.
    """
    found: dict[str, Any] = {}
    for kind in KINDS:
        rows = [row for row in scores if row["kind"] == kind]
        labels = np.array([int(row["label"]) for row in rows], np.int64)
        logits = np.array([float(row["logit"]) for row in rows], np.float64)
        if set(labels.tolist()) != {0, 1}:
            found[kind] = None
            continue
        sources = np.array([row["source"] for row in rows])
        of_source = {}
        for source in sorted(set(sources.tolist())):
            mine = sources == source
            part = mine | (labels != labels[mine][0])
            of_source[source] = {"n": int(mine.sum()), "auc": auc(logits[part], labels[part])}
        found[kind] = {
            "auc": auc(logits, labels),
            "interval": _interval(logits, labels),
            "pictures": {"real": int((labels == 0).sum()), "fake": int(labels.sum())},
            "by_source": of_source,
        }
    return found


def _interval(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> list[float]:
    return list(bootstrap_interval(lambda k: auc(logits[k], labels[k]), labels))


def left_out_summary(trainings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and worst AUC over the folds, by kind: what a family of fakes and real sources never seen come to."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        values = {
            name: part["measured"][kind]["auc"]
            for name, part in trainings.items()
            if part["left_out"] is not None and part["measured"][kind] is not None
        }
        if values:
            worst = min(values, key=lambda name: values[name])
            mean = float(np.mean(list(values.values())))
            found[kind] = {"mean": mean, "worst": worst, "worst_auc": values[worst], "folds": values}
    return found


def _counts(regions: Sequence[FaceRegion]) -> dict[str, int]:
    names = [f"{one.family_source} ({'fake' if one.label else 'real'})" for one in regions]
    return {name: names.count(name) for name in sorted(set(names))}
