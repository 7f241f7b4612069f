"""What gives the class of a file away before any forgery is looked for: format, size, compression, colour, metadata.

A training set in which these differ by class teaches them first. The audit is printed before a training and stored in
its record, beside a baseline that knows nothing else.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.calibration.metrics import auc, bootstrap_interval
from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.files import read_json, write_text
from ecdd.pipeline.compression import jpeg_quality
from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.file_structure import walk
from ecdd.pipeline.reason_codes import Rejected
from ecdd.training.cache import ORIGINAL
from ecdd.training.harmonise import is_grey

AUDIT_FORMAT: Final = 2
WORDS: Final = ("format", "colour", "jpeg_quality_known")
NUMBERS: Final = (
    "log_pixels",
    "log_bytes_per_pixel",
    "log_metadata_bytes",
    "jpeg_quality",
    "saturation",
    "face_side",
    "sharpness",
)
FOLDS: Final = 5
UNKNOWN_QUALITY: Final = 101.0  # beyond the best JPEG: no known quality is a value of its own

UNKNOWN_SIZE: Final = -1.0  # no face: a value of its own too


def shortcut_audit(rows: list[TaggedRow], contract: LoadedContract, folder: Path | None, seed: int) -> dict[str, Any]:
    """Measure what a file says of itself, by class.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        Labelled pictures, whose tensors are in the cache where there is one.
    contract : LoadedContract
        Decoder.
    folder : Path or None
        The tensor cache; facts of a file are kept there, beside its tensors. Without it nothing is known of faces.
    seed : int
        Of the folds and of the bootstrap.

    Returns
    -------
    dict
        ``pictures`` by class; ``words``: counts of every value by class; ``numbers``: AUC alone (larger = fake) and
        median by class; ``baseline``: cross-validated AUC of a classifier on all of them, with its 95 % interval;
        near-duplicate groups stay in one fold. None where a class has fewer groups than folds.
    """
    facts = [_facts_of(row, contract.policy, folder) for row, _ in rows]
    known = [(fact, int(row.label or 0), tag.near_duplicate_group) for (row, tag), fact in zip(rows, facts, strict=True)
             if fact is not None]  # fmt: skip
    labels = np.array([label for _, label, _ in known], np.int64)
    return {
        "pictures": {"real": int((labels == 0).sum()), "fake": int((labels == 1).sum())},
        "unreadable": len(rows) - len(known),
        "words": {name: _counts([(str(fact[name]), label) for fact, label, _ in known]) for name in WORDS},
        "numbers": {
            name: _number(np.array([fact[name] for fact, _, _ in known], np.float64), labels) for name in NUMBERS
        },
        "baseline": _baseline([fact for fact, _, _ in known], labels, [group for _, _, group in known], seed),
    }


def audit_lines(audit: dict[str, Any]) -> list[str]:
    """The audit as lines of text: what separates the classes most comes first."""
    lines = [f"shortcut audit of {audit['pictures']['real']} real and {audit['pictures']['fake']} fake pictures"]
    numbers = sorted(audit["numbers"].items(), key=lambda item: -_apart(item[1]["auc"]))
    for name, about in numbers:
        if about["auc"] is not None:
            medians = f"median {about['median_real']:.3g} real, {about['median_fake']:.3g} fake"
            lines.append(f"  {name}: AUC alone {about['auc']:.3f}, {medians}, {about['missing']} missing")
    for name, values in audit["words"].items():
        shown = "; ".join(f"{value} {count['real']} real {count['fake']} fake" for value, count in values.items())
        lines.append(f"  {name}: {shown}")
    baseline = audit["baseline"]
    if baseline is None:
        lines.append("  classifier on all of these: not measured, too few groups in a class")
    else:
        low, high = baseline["interval"]
        lines.append(
            f"  classifier on all of these: AUC {baseline['auc']:.3f} [{low:.3f}, {high:.3f}]; 0.5 would be none"
        )
    return lines


def _apart(value: float | None) -> float:
    return 0.0 if value is None else abs(value - 0.5)


def _facts_of(row: Any, policy: PolicyContract, folder: Path | None) -> dict[str, Any] | None:  # noqa: ANN401
    """Facts of one file, from the cache or measured now; None where it cannot be decoded."""
    if folder is None:
        try:
            return _measured(row, policy) | {"face_side": None, "sharpness": None}
        except Rejected:
            return None
    path = folder / f"{row.sha256}.facts.json"
    if path.is_file():
        stored = read_json(path)
        if stored["audit_format"] == AUDIT_FORMAT:
            facts: dict[str, Any] | None = stored["facts"]
            return facts
    try:
        facts = _measured(row, policy)
    except Rejected:
        facts = None
    if facts is not None:
        facts |= _of_the_face(folder / f"{row.sha256}.json")
    write_text(path, json.dumps({"audit_format": AUDIT_FORMAT, "facts": facts}, sort_keys=True))
    return facts


def _measured(row: Any, policy: PolicyContract) -> dict[str, Any]:  # noqa: ANN401
    data = read_file(row.path, policy.pixel_pipeline)
    decoded = decode(data, policy.pixel_pipeline, name=row.path.name)
    pixels = decoded.image.width * decoded.image.height
    quality = jpeg_quality(decoded.quantisation_tables)
    small = np.asarray(decoded.image.resize((64, 64), Image.Resampling.BOX), np.int16)
    structure = walk(data, decoded.format, policy.pixel_pipeline.max_metadata_bytes)
    return {
        "format": decoded.format,
        "colour": "grey" if is_grey(decoded.image) else "colour",
        "jpeg_quality_known": quality.kind,
        "log_pixels": math.log(pixels),
        "log_bytes_per_pixel": math.log(len(data) / pixels),
        "log_metadata_bytes": math.log1p(structure.metadata_bytes),
        "jpeg_quality": UNKNOWN_QUALITY if quality.value is None else quality.value,
        "saturation": float((small.max(axis=2) - small.min(axis=2)).mean()),
    }


def _of_the_face(tensors: Path) -> dict[str, float | None]:
    content = read_json(tensors)
    original = next((entry for entry in content["variants"] if entry["kind"] == ORIGINAL), None)
    if original is None:
        return {"face_side": None, "sharpness": None}
    return {"face_side": float(original["quality"]["face_side"]), "sharpness": float(original["quality"]["blur"])}


def _counts(values: list[tuple[str, int]]) -> dict[str, dict[str, int]]:
    counted = Counter(values)
    return {
        value: {"real": counted[value, 0], "fake": counted[value, 1]}
        for value in sorted({value for value, _ in values})
    }


def _number(values: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float | int | None]:
    there = np.isfinite(values)
    values, labels = values[there], labels[there]
    if len(set(labels.tolist())) < 2:
        return {"auc": None, "median_real": None, "median_fake": None, "missing": int((~there).sum())}
    return {
        "auc": auc(values, labels),
        "median_real": float(np.median(values[labels == 0])),
        "median_fake": float(np.median(values[labels == 1])),
        "missing": int((~there).sum()),
    }


def _baseline(
    facts: list[dict[str, Any]], labels: NDArray[np.int64], groups: list[str], seed: int
) -> dict[str, Any] | None:
    """Score by a forest on all facts; every picture is scored by trees that saw none of its group."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    names = np.array(groups)
    if any(len(set(names[labels == label])) < FOLDS for label in (0, 1)):
        return None
    columns = [[UNKNOWN_SIZE if fact[name] is None else float(fact[name]) for fact in facts] for name in NUMBERS]
    for name in WORDS:
        values = sorted({str(fact[name]) for fact in facts})
        columns += [[float(str(fact[name]) == value) for fact in facts] for value in values]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    model = RandomForestClassifier(200, min_samples_leaf=3, class_weight="balanced", random_state=seed)
    scores = cross_val_predict(model, np.array(columns).T, labels, groups=names, cv=folds, method="predict_proba")[:, 1]
    number = {name: k for k, name in enumerate(sorted(set(groups)))}
    index = np.array([number[name] for name in groups], np.int64)
    interval = bootstrap_interval(lambda k: auc(scores[k], labels[k]), labels, index, seed=seed)
    return {"auc": auc(scores, labels), "interval": list(interval), "folds": FOLDS}
