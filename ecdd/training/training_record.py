"""What a training record holds beside the measurements: the data, who was kept out, the environment."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any, Final

import torch

from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.lineage_tags import DataSplit
from ecdd.dataset_governance.manifest import ManifestRow, manifest_digest
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.training.cache import FORGED, HARMONISED, ORIGINAL
from ecdd.training.sampling import BalancedSet

RECORD_SCHEMA: Final = 2
LIBRARIES: Final = ("torch", "numpy", "pillow", "ai-edge-litert", "scikit-learn")
NOT_TESTED_ON: Final = (
    "any picture of lineage TEST-NEVER-TOUCH: only gates read those",
    "any generator but Stable Diffusion 3, StyleGAN2 and StyleGAN2 inversions",
    "face swaps, reenactment, lip-sync and other local forgeries; the fakes are whole generated pictures",
    "video frames, screenshots, messenger re-compression chains and printed or re-photographed pictures",
    "phones: all latency and parity figures come from a desktop CPU",
    "balance over age, gender or skin tone: the manifest has no such columns",
)


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


def abstain_rates(outcomes: dict[str, dict[str, int]], sources: list[str]) -> dict[str, dict[str, float | None]]:
    """Share of the tensors of each source that the guardrails keep from the detector, by kind of tensor.

    Parameters
    ----------
    outcomes : dict
        By source: how many of a kind were kept, and dropped by reason, as ``"kind: reason"``.
    sources : list of str
        Which to count.

    Returns
    -------
    dict
        By source, for ``original`` (the file as it is) and ``harmonised`` tensors: 0 … 1, None without any.
    """
    rates: dict[str, dict[str, float | None]] = {}
    for source in sources:
        rates[source] = {}
        for kind in (ORIGINAL, HARMONISED):
            counts = {key: count for key, count in outcomes.get(source, {}).items() if key.startswith(f"{kind}: ")}
            total = sum(counts.values())
            rates[source][kind] = 1 - counts.get(f"{kind}: kept", 0) / total if total else None
    return rates


def environment() -> dict[str, Any]:
    """Name what can change the numbers of a training: libraries, Python, threads."""
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
    }


def picture_counts(rows: list[TaggedRow]) -> dict[str, int]:
    """Count pictures by source and class."""
    names = [f"{row.source} ({'fake' if row.label else 'real'})" for row, _ in rows]
    return {name: names.count(name) for name in sorted(set(names))}


def set_summary(data: BalancedSet) -> dict[str, Any]:
    """Count tensors, cells and pictures of a balanced set, by class and source."""

    def pictures(label: int) -> dict[str, int]:
        of_source: dict[str, set[str]] = {}
        for variant in data.variants:
            if variant.label == label:
                of_source.setdefault(
                    f"ours: {variant.generator}" if variant.kind == FORGED else variant.source, set()
                ).add(variant.picture)
        return {source: len(names) for source, names in sorted(of_source.items())}

    return {
        "tensors": len(data.variants),
        "cells": len(data.cells),
        "real_pictures": pictures(0),
        "fake_pictures": pictures(1),
        "tensors_in_one_class_cells": data.dropped,
    }
