"""The whole training of a student: tensors, a source-disjoint check, the student that ships, baselines, record."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecdd.calibration.metrics import auc
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageTag
from ecdd.dataset_governance.manifest import ManifestRow, manifest_digest
from ecdd.dataset_governance.usable_faces import TaggedRow, usable_faces
from ecdd.files import write_text
from ecdd.models.checkpoint import CheckpointIdentity, save_weights
from ecdd.models.tiny_ladeda import ARCHITECTURE, TinyLaDeDa
from ecdd.training.cache import ORIGINAL, Variant, cache_folder, fill_cache, load_variants
from ecdd.training.config import SplitSettings, TrainingConfig, TrainingError
from ecdd.training.sampling import BalancedSet, balanced, split_validation
from ecdd.training.shortcut_baseline import BaselineResult, auc_interval, shortcut_baseline
from ecdd.training.student import outcome, pooled_logits, train_student

Progress = Callable[[str], None]
INPUTS_FILE = "inputs.json"
WEIGHTS_NAME = "weights.safetensors"
RECORD_NAME = "training_record.json"
NOT_TESTED_ON = (
    "any picture of lineage TEST-NEVER-TOUCH: only gates read those",
    "any generator but Stable Diffusion 3, StyleGAN2 and StyleGAN2 inversions",
    "face swaps, reenactment, lip-sync and other local forgeries; the fakes are whole generated pictures",
    "video frames, screenshots, messenger re-compression chains and printed or re-photographed pictures",
    "phones: all latency and parity figures come from a desktop CPU",
    "balance over age, gender or skin tone: the manifest has no such columns",
)


@dataclass(frozen=True)
class _Inputs:
    """All that one of the two trainings needs."""

    contract: LoadedContract
    config: TrainingConfig
    variants: list[Variant]
    identity: dict[str, str]


def run_student(
    manifest: list[ManifestRow],
    split: DataSplit,
    contract: LoadedContract,
    config: TrainingConfig,
    *,
    cache: Path,
    out: Path,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Train the student twice (source-disjoint, then on every source) and write weights and record.

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
    cache : Path
        Folder for tensors, outside the project.
    out : Path
        Gets ``weights.safetensors``, ``training_record.json`` and a folder for each training.
    progress : callable
        Called with one line after every picture and epoch.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    TrainingError, LineageError
        Each says what to change.
    """
    rows = usable_faces(manifest, split, [LineageTag.TRAIN])
    folder = cache_folder(cache, contract, config)
    for count, _ in enumerate(fill_cache(rows, contract, config, folder), start=1):
        progress(f"tensors: {count} of {len(rows)} pictures")
    variants, left_out = load_variants(rows, folder, contract.policy.quality_gates)
    identity = training_identity(manifest, split, contract)
    inputs = _Inputs(contract, config, variants, identity)
    trainings = {}
    model = None
    for name in ("source_disjoint", "shipped"):
        model, trainings[name] = _one_training(name, inputs, out / name, progress)
    assert model is not None
    digest = save_weights(model, _checkpoint_identity(contract, model), out / WEIGHTS_NAME)
    record = {
        "schema_version": 1,
        "architecture": ARCHITECTURE,
        "state_digest": digest,
        **identity,
        "pictures": _counts(rows),
        "tensors_by_outcome": left_out,
        "config": config.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("torch", "numpy", "pillow", "ai-edge-litert", "scikit-learn")},
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "trainings": trainings,
        "not_tested_on": list(NOT_TESTED_ON),
    }
    write_text(out / RECORD_NAME, json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n")
    return record


def _one_training(name: str, inputs: _Inputs, out: Path, progress: Progress) -> tuple[TinyLaDeDa, dict[str, Any]]:
    config, policy = inputs.config, inputs.contract.policy
    settings: SplitSettings = getattr(config, name)
    parts = split_validation(inputs.variants, settings, config.seed)
    train, validation = (balanced(part, config.sharpness_edges) for part in parts)
    _same_inputs(out / INPUTS_FILE, inputs_text(config, inputs.identity))
    for epoch in train_student(config, policy, train, validation, out):
        progress(f"{name}: epoch {epoch.epoch}, loss {epoch.loss:.4f}, validation AUC {epoch.validation_auc:.4f}")
    result = outcome(config, policy, out)
    logits = pooled_logits(result.model, validation.variants, policy)
    originals = [[v for v in part if v.kind == ORIGINAL] for part in parts]
    raw_logits = pooled_logits(result.model, originals[1], policy)
    ones = [np.ones(len(part)) for part in originals]
    raw_labels = np.array([v.label for v in originals[1]], np.int64)
    return result.model, {
        "training": _set_summary(train),
        "validation": _set_summary(validation),
        "best": asdict(result.best),
        "history": [asdict(epoch) for epoch in result.history],
        "seconds": sum(epoch.seconds for epoch in result.history),
        "harmonised": {
            "student_auc": auc(logits, validation.labels(), validation.weights()),
            "student_interval": auc_interval(logits, validation.variants, validation.weights(), config.seed),
            "shortcut_baseline": _baseline(
                shortcut_baseline(
                    (train.variants, train.weights()), (validation.variants, validation.weights()), config.seed
                )
            ),
        },
        "files_as_they_are": {
            "student_auc": auc(raw_logits, raw_labels),
            "student_interval": auc_interval(raw_logits, originals[1], ones[1], config.seed),
            "shortcut_baseline": _baseline(
                shortcut_baseline((originals[0], ones[0]), (originals[1], ones[1]), config.seed)
            ),
        },
    }


def training_identity(manifest: list[ManifestRow], split: DataSplit, contract: LoadedContract) -> dict[str, str]:
    """Name the data and the parts of the contract that decide which tensors are trained on."""
    gates = contract.policy.quality_gates
    kept = ("min_image_side", "min_face_side", "blur_threshold", "min_jpeg_quality", "max_blockiness")
    return {
        "data_manifest_digest": manifest_digest(manifest),
        "data_split_digest": split.digest,
        "tensor_digest": contract.tensor_digest,
        "quality_gates": ", ".join(f"{name} {getattr(gates, name):g}" for name in kept),
    }


def inputs_text(config: TrainingConfig, identity: dict[str, str]) -> str:
    """Describe what a training state depends on, so that no state is resumed with other inputs."""
    return json.dumps({"config": config.model_dump(mode="json"), **identity}, indent=2, sort_keys=True) + "\n"


def _same_inputs(path: Path, text: str) -> None:
    if not path.is_file():
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        msg = f"{path}: the folder holds a training with other settings, data or contract; choose another --out"
        raise TrainingError(msg)


def _checkpoint_identity(contract: LoadedContract, model: TinyLaDeDa) -> CheckpointIdentity:
    pixels = contract.policy.pixel_pipeline
    mean, std = pixels.normalisation_mean, pixels.normalisation_std
    return CheckpointIdentity(
        architecture=ARCHITECTURE,
        input_operator=model.input_operator,
        operator_scale=model.operator_scale,
        normalisation_mean=(mean[0], mean[1], mean[2]),
        normalisation_std=(std[0], std[1], std[2]),
        pixel_scale=pixels.pixel_scale,
        input_size=pixels.input_size,
        tensor_digest=contract.tensor_digest,
    )


def _counts(rows: list[TaggedRow]) -> dict[str, int]:
    names = [f"{row.source} ({'fake' if row.label else 'real'})" for row, _ in rows]
    return {name: names.count(name) for name in sorted(set(names))}


def _set_summary(data: BalancedSet) -> dict[str, Any]:
    def pictures(label: int) -> dict[str, int]:
        of_source: dict[str, set[str]] = {}
        for variant in data.variants:
            if variant.label == label:
                of_source.setdefault(variant.source, set()).add(variant.sha256)
        return {source: len(names) for source, names in sorted(of_source.items())}

    return {
        "tensors": len(data.variants),
        "cells": len(data.cells),
        "real_pictures": pictures(0),
        "fake_pictures": pictures(1),
        "tensors_in_one_class_cells": data.dropped,
    }


def _baseline(result: BaselineResult) -> dict[str, Any]:
    return {"auc": result.auc, "interval": list(result.interval), "single_features": result.single}
