"""The shipped bundles follow from their own weights and scores: nothing in them was written by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ecdd.bundle import bundle_path, load_bundle
from ecdd.bundle.variants import SCORES_FILE
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibration_set_contract import (
    JUDGED,
    ScoredPicture,
    judged_set,
    read_scores,
    scores_csv,
)
from ecdd.calibration.fitting import fit_calibration
from ecdd.dataset_governance.lineage_history import split_cited
from ecdd.dataset_governance.lineage_tags import LineageTag
from ecdd.export.artifact_manifest import check_identity
from ecdd.export.export_error import ExportError
from ecdd.export.exported_parity import onnx_map, reference_map, tflite_map
from ecdd.export.folding import fold
from ecdd.export.onnx_export import onnx_bytes
from ecdd.export.recalibrating import ONNX_FILE, TRAINING_FILE, previous_release
from ecdd.models.checkpoint import load_weights
from gates.support.calibration_set import fields_that_differ

ROOT = Path(__file__).resolve().parents[3]
TINY = bundle_path("tiny")
each = pytest.mark.parametrize("name", ["lite", "tiny"])


def made_up(n_real: int, n_fake: int) -> list[ScoredPicture]:
    rng = np.random.default_rng(0)
    pictures = []
    for k in range(n_real + n_fake):
        label = int(k >= n_real)
        logit = float(rng.normal(2 * label - 1, 1))
        name = hashlib.sha256(str(k).encode()).hexdigest()
        pictures.append(ScoredPicture(name, f"source {k % 2}", name, label, JUDGED, logit))
    return pictures


@each
def test_calibration_follows_from_the_committed_scores(name: str) -> None:
    bundle = load_bundle(name)
    scores = read_scores(bundle.path / SCORES_FILE)
    record = bundle.calibration
    fitted = fit_calibration(scores, bundle.contract.policy, record.fitted_on_model_sha256, record.created)
    assert not fields_that_differ(record, fitted.record)
    assert fitted.thresholds.met["max_fpr"]
    assert fitted.record.metrics["constraints_not_met"] == record.metrics["constraints_not_met"]
    for metric, value in fitted.record.metrics.items():
        recorded = record.metrics[metric]
        if isinstance(value, float):
            assert recorded == pytest.approx(value, rel=1e-6, abs=1e-9)


@each
def test_every_scored_picture_is_tagged_calibration_and_none_is_missing(name: str) -> None:
    path = bundle_path(name)
    split = split_cited(ROOT / "golden" / "data_split.csv", json.loads((path / TRAINING_FILE).read_text("utf-8")))
    scored = {picture.sha256: picture for picture in read_scores(path / SCORES_FILE)}
    expected = {row.sha256 for row in split.rows_with([LineageTag.CALIBRATION]) if row.scope == "face"}
    assert set(scored) == expected
    for sha256, picture in scored.items():
        assert str(picture.label) == split.rows[sha256].label
        assert (picture.logit is None) == (picture.outcome != JUDGED)


def test_exported_files_are_the_weights() -> None:
    model, identity = load_weights(TINY / "weights.safetensors")
    check_identity(identity, load_bundle("tiny").contract, TINY / "weights.safetensors")
    assert (TINY / ONNX_FILE).read_bytes() == onnx_bytes(fold(model), 256, load_bundle("tiny").contract.policy.pooling)
    batch = np.random.default_rng(1).normal(size=(3, 256, 256, 3)).astype(np.float32)
    reference = reference_map(model, batch)
    limit = 1e-4 * reference.std()
    assert np.abs(tflite_map((TINY / "model.tflite").read_bytes(), batch) - reference).max() <= limit
    assert np.abs(onnx_map((TINY / ONNX_FILE).read_bytes(), batch) - reference).max() <= limit


def test_weights_of_another_preprocessing_are_refused() -> None:
    _, identity = load_weights(TINY / "weights.safetensors")
    contract = load_bundle("tiny").contract
    with pytest.raises(ExportError, match=r"tensor_digest is .* train again"):
        check_identity(identity, contract.with_values({"face_detector.crop_margin": 1.6}), TINY)
    other = contract.with_values({"pixel_pipeline.normalisation_mean": [0.5, 0.5, 0.5]})
    with pytest.raises(ExportError, match="normalisation_mean"):
        check_identity(identity, other, TINY)


def test_training_record_says_what_it_was_not_tested_on_and_shows_the_baseline() -> None:
    name, _, created, content = previous_release(TINY)
    record = json.loads(content)
    assert name == load_bundle("tiny").manifest.name
    assert created == load_bundle("tiny").calibration.created
    assert record["not_tested_on"]
    assert record["tensor_digest"] == load_bundle("tiny").contract.tensor_digest
    split = split_cited(ROOT / "golden" / "data_split.csv", record)
    assert record["data_split_digest"] == split.digest
    folds = record["leave_one_source_out"]
    assert {(f["left_out"]["family"], f["left_out"]["real_source"]) for f in folds} == {
        (family, real) for family in ("sd3", "stylegan2") for real in ("18f", "congress", "pif")
    }
    for training in [*folds, record["shipped"]]:
        for kind in ("size_matched", "size_and_sharpness_matched", "files_as_they_are"):
            measured = training["measured"][kind]
            low, high = measured["interval"]
            assert 0 <= low <= measured["auc"] <= high <= 1
            assert 0 <= measured["shortcut_baseline"]["auc"] <= 1
        assert all(0 <= rate <= 1 for rates in training["abstain_rates"].values() for rate in rates.values())
        assert len(training["teacher_sha256"]) == 64
    for without in folds:
        left_out = {*without["left_out"]["fake_sources"], without["left_out"]["real_source"]}
        for part in ("training", "validation"):
            seen = without[part]["fake_pictures"] | without[part]["real_pictures"]
            assert not left_out & set(seen), f"{left_out} was left out, and is in {part}"
        assert set(without["abstain_rates"]) == left_out
    assert record["skipped"] == {"manifest": [], "unreadable": []}
    assert record["shortcut_audit"]["baseline"]["auc"] > 0.9  # the raw files give themselves away; the record says so
    assert (TINY / TRAINING_FILE).read_bytes() == content


def test_scores_survive_the_file(tmp_path: Path) -> None:
    pictures = [*made_up(5, 4), ScoredPicture("f" * 64, "s", "g", 0, "GR-003", None)]
    (tmp_path / "scores.csv").write_text(scores_csv(pictures))
    assert read_scores(tmp_path / "scores.csv") == sorted(pictures, key=lambda p: p.sha256)
    (tmp_path / "scores.csv").write_text("sha256,label\nabc,0\n")
    with pytest.raises(CalibrationError, match=r"scores\.csv:2"):
        read_scores(tmp_path / "scores.csv")


def test_set_that_is_too_small_is_refused() -> None:
    policy = load_bundle("tiny").contract.policy
    least = policy.calibration.min_samples_per_class
    assert judged_set(made_up(least, least), policy.calibration).n_fake == least
    with pytest.raises(CalibrationError, match=f"min_samples_per_class is {least}, but only {least - 1} fake"):
        judged_set(made_up(least, least - 1), policy.calibration)


def test_labels_of_another_split_are_noticed() -> None:
    bundle = load_bundle("tiny")
    scores = read_scores(TINY / SCORES_FILE)
    labels = [picture.label for picture in scores]
    shifted = [
        ScoredPicture(p.sha256, p.source, p.group, labels[(k + 1) % len(labels)], p.outcome, p.logit)
        for k, p in enumerate(scores)
    ]
    right = bundle.calibration
    wrong = fit_calibration(shifted, bundle.contract.policy, right.fitted_on_model_sha256, right.created).record
    assert wrong.calibration_set_digest != right.calibration_set_digest
    assert isinstance(wrong.metrics["nll"], float)
    assert isinstance(right.metrics["nll"], float)
    assert wrong.metrics["nll"] > right.metrics["nll"] + 0.05
