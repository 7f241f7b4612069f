"""Measure a network on faces of lineage TEST-NEVER-TOUCH: known sources, as files and harmonised.

    python -m gates.units.models.measure_faces --weights W --data MANIFEST [--data …] --cache FOLDER --out FILE.json

Only gates read these pictures. Beside the network's numbers stand those of a logistic regression that sees size,
sharpness, blockiness, colour and contrast of the very same tensors and nothing else, fitted on TRAIN.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import auc, bootstrap_interval
from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
from ecdd.dataset_governance.manifest import load_manifests
from ecdd.dataset_governance.validate_lineage import assert_lineage, join
from ecdd.files import write_text
from ecdd.models.checkpoint import load_weights
from ecdd.pipeline.blur import laplacian_variance
from ecdd.specification import CONTRACT, SPLIT
from ecdd.training.batches import pooled_logits
from ecdd.training.face_draws import MeasuredFace, measured_tensors
from ecdd.training.face_regions import fill_regions, load_regions, region_folder
from ecdd.training.shortcut_baseline import tensor_features

KINDS = ("file", "harmonised")
FALSE_ALARMS = 0.05
SEED = 20


def shortcut_features(faces: list[MeasuredFace]) -> NDArray[np.float64]:
    """Size of the crop in the file, sharpness, and what S3 shows; shape (n, 6)."""
    return np.array(
        [
            (
                np.log(face.region.native_side),
                np.log(laplacian_variance(face.tensor) + 1),
                *tensor_features(face.tensor),
            )
            for face in faces
        ],
        np.float64,
    )


def detection_rate(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Share of the fakes above the smallest threshold that at most `FALSE_ALARMS` of these reals reach."""
    real = np.sort(logits[labels == 0])[::-1]
    threshold = real[int(FALSE_ALARMS * len(real))]
    return float((logits[labels == 1] > threshold).mean())


def measured(logits: NDArray[np.float64], faces: list[MeasuredFace]) -> dict[str, Any]:
    """AUC and detection rate with intervals over near-duplicate groups, and every source against the other class."""
    labels = np.array([face.region.label for face in faces], np.int64)
    sources = np.array([face.region.source for face in faces])
    # a fake and its original are one group, but each class is drawn by itself: such a group counts once in either
    keys = [(face.region.group, face.region.label) for face in faces]
    names = {key: k for k, key in enumerate(sorted(set(keys)))}
    groups = np.array([names[key] for key in keys], np.int64)
    real = np.sort(logits[labels == 0])[::-1]
    threshold = float(real[int(FALSE_ALARMS * len(real))])
    by_source = {}
    for source in sorted(set(sources.tolist())):
        mine = sources == source
        part = mine | (labels != labels[mine][0])
        by_source[source] = {
            "n": int(mine.sum()),
            "label": int(labels[mine][0]),
            "auc": auc(logits[part], labels[part]),
            "above_threshold": float((logits[mine] > threshold).mean()),
        }
    return {
        "pictures": {"real": int((labels == 0).sum()), "fake": int(labels.sum())},
        "auc": auc(logits, labels),
        "auc_interval": bootstrap_interval(lambda k: auc(logits[k], labels[k]), labels, groups, seed=SEED),
        "detection_rate_at_5_percent_false_alarms": detection_rate(logits, labels),
        "detection_rate_interval": bootstrap_interval(
            lambda k: detection_rate(logits[k], labels[k]), labels, groups, seed=SEED
        ),
        "threshold": threshold,
        "by_source": by_source,
    }


def baseline(train: list[MeasuredFace], test: list[MeasuredFace]) -> dict[str, Any]:
    """What shortcuts alone reach on the tensors that are measured."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x_train, x_test = shortcut_features(train), shortcut_features(test)
    y_train, y_test = (np.array([face.region.label for face in part], np.int64) for part in (train, test))
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x_train, y_train)
    scores = np.asarray(fitted.decision_function(x_test), np.float64)
    names = ("crop_side", "sharpness", "tensor_blockiness", "saturation", "brightness", "contrast")
    single = {name: auc(x_test[:, k], y_test) for k, name in enumerate(names)}
    return {"auc": auc(scores, y_test), "single_features": single}


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--contract", type=Path, default=CONTRACT)
    parser.add_argument("--split", type=Path, default=SPLIT)
    chosen = parser.parse_args()
    contract, split = load_contract(chosen.contract), load_split(chosen.split)
    pairs = [pair for pair in join(load_manifests(chosen.data), split) if pair[0].scope == "face"]
    folder, pixels = region_folder(chosen.cache, contract), contract.policy.pixel_pipeline
    regions, found = {}, {}
    for tag in (LineageTag.TRAIN, LineageTag.TEST_NEVER_TOUCH):
        rows = [pair for pair in pairs if pair[1].lineage is tag]
        assert_lineage(split, [row.sha256 for row, _ in rows], [tag])
        for _ in fill_regions(rows, contract, folder):
            pass
        regions[tag], found[tag] = load_regions(rows, folder)
    model, _ = load_weights(chosen.weights)
    result: dict[str, Any] = {"faces_found": found[LineageTag.TEST_NEVER_TOUCH], "data_split_digest": split.digest}
    for kind in KINDS:
        test = list(measured_tensors(regions[LineageTag.TEST_NEVER_TOUCH], pixels, kind, SEED))
        train = list(measured_tensors(regions[LineageTag.TRAIN], pixels, kind, SEED))
        result[kind] = measured(pooled_logits(model, test, contract.policy), test)
        result[kind]["shortcut_baseline"] = baseline(train, test)
    write_text(chosen.out, json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
