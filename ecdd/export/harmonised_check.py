"""What the shipped model reaches on calibration pictures brought to one size, sharpness and compression.

Thresholds are fitted on the files as they are: those are what users send, each picture counts once, so the
binomial bound holds, and E4.1 asks for the exact pipeline. But files as they are carry shortcuts (fakes are larger
and sharper than reals here), so separation on them flatters; this check stands beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecdd.calibration.metrics import (
    auc,
    bootstrap_interval,
    expected_calibration_error,
    negative_log_likelihood,
    sigmoid,
)
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.inference.calibration import AppliedCalibration
from ecdd.inference.stages import judge
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.tflite import TFLiteRuntime, wants_xnnpack
from ecdd.training.cache import cache_folder, fill_cache, load_variants
from ecdd.training.config import TrainingConfig
from ecdd.training.sampling import balanced

RESAMPLES = 300


def harmonised_metrics(
    rows: list[TaggedRow],
    contract: LoadedContract,
    config: TrainingConfig,
    cache: Path,
    model: bytes,
    calibration: AppliedCalibration,
) -> dict[str, float | int | str | None]:
    """Score harmonised variants of the calibration pictures with the shipped model.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        CALIBRATION faces.
    contract : LoadedContract
        Pipeline, gates, pooling, runtime.
    config : TrainingConfig
        How to harmonise.
    cache : Path
        Folder for tensors, outside the project.
    model : bytes
        TFLite file.
    calibration : AppliedCalibration
        Fitted on the files as they are.

    Returns
    -------
    dict
        ``harmonised_auc`` with its 95 % interval (cells of size and sharpness weighing alike in both classes), and
        NLL and ECE over the unweighted variants.
    """
    folder, policy = cache_folder(cache, contract, config), contract.policy
    for _ in fill_cache(rows, contract, config, folder):
        pass
    data = balanced(load_variants(rows, folder, policy.quality_gates)[0], config.sharpness_edges)
    settings, interface = policy.runtime, ModelInterface.of(policy, "tflite")
    xnnpack = wants_xnnpack(settings.delegate)
    runtime = TFLiteRuntime(model, threads=settings.threads, xnnpack=xnnpack, interface=interface)
    logits = np.empty(len(data.variants))
    for k, variant in enumerate(data.variants):
        found = runtime.outputs(normalise(variant.s3(), policy.pixel_pipeline)[None])
        logits[k] = judge(found, 1, policy.patch_grid, policy.pooling, calibration)[0].calibrated_logit
    labels, weights = data.labels(), data.weights()
    names = {name: k for k, name in enumerate(sorted({v.group for v in data.variants}))}
    groups = np.array([names[v.group] for v in data.variants], np.int64)
    low, high = bootstrap_interval(lambda k: auc(logits[k], labels[k], weights[k]), labels, groups, resamples=RESAMPLES)
    return {
        "harmonised_auc": auc(logits, labels, weights),
        "harmonised_auc_low_95": low,
        "harmonised_auc_high_95": high,
        "harmonised_nll": negative_log_likelihood(logits, labels),
        "harmonised_ece": expected_calibration_error(sigmoid(logits), labels),
        "harmonised_tensors": len(labels),
    }
