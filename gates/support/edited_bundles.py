"""A small bundle for the tests of loading: real records and digests; its model file is never run."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

from ecdd.bundle import CalibrationRecord, ModelDescription, Thresholds, write_manifest
from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE, WEIGHTS_FILE
from ecdd.contract.loading import LoadedContract, load_contract

SOURCE_CONTRACT = Path(__file__).resolve().parents[2] / "contracts" / "policy_contract.yaml"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def model_description(contract: LoadedContract, weights: bytes) -> ModelDescription:
    policy = contract.policy
    return ModelDescription(
        architecture="tiny_ladeda",
        parameters=1297,
        input_operator=policy.patch_grid.input_operator,
        operator_scale=policy.patch_grid.operator_scale,
        grid=[policy.patch_grid.rows, policy.patch_grid.cols],
        stride=policy.patch_grid.stride,
        receptive_field=policy.patch_grid.receptive_field,
        input_size=policy.pixel_pipeline.input_size,
        normalisation_mean=policy.pixel_pipeline.normalisation_mean,
        normalisation_std=policy.pixel_pipeline.normalisation_std,
        mode=policy.quantization.mode,
        weights_sha256=sha256(weights),
    )


def calibration_record(contract: LoadedContract, model: bytes) -> CalibrationRecord:
    point = contract.policy.operating_point
    return CalibrationRecord(
        method="temperature",
        temperature=1.5,
        bias=0.0,
        fitted_on_model_sha256=sha256(model),
        calibration_set_digest=sha256(b"set"),
        n_real=40,
        n_fake=40,
        metrics={"nll_after": 0.5},
        thresholds=Thresholds(t_real=point.t_real, t_fake=point.t_fake),
        created=datetime.date(2025, 1, 1),
    )


def make_bundle(root: Path) -> Path:
    """Write a bundle whose parts agree."""
    contract = load_contract(SOURCE_CONTRACT).with_values({"calibration.method": "temperature"})
    model, weights = b"a model file of these tests", b"weights of these tests"
    root.mkdir()
    contract.dump(root / CONTRACT_FILE)
    (root / MODEL_FILE).write_bytes(model)
    (root / WEIGHTS_FILE).write_bytes(weights)
    (root / CALIBRATION_FILE).write_bytes(calibration_record(contract, model).text())
    (root / "golden_outputs").mkdir()
    (root / "golden_outputs" / "s6.json").write_text("{}\n")
    write_manifest(
        root,
        name="test",
        version="0.0.1",
        model=model_description(contract, weights),
        created_by={"ecdd": "0.1.0"},
    )
    return root
