"""What the parts of a bundle say of each other must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.manifest import (
    CALIBRATION_FILE,
    CONTRACT_FILE,
    DESCRIPTION_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    BundleDescription,
    FileEntry,
    ModelDescription,
)
from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract

_Pair = tuple[str, object, str, object]


def check_agreement(
    root: Path,
    files: Mapping[str, FileEntry],
    description: BundleDescription,
    contract: LoadedContract,
    calibration: CalibrationRecord,
    variants: Mapping[str, CalibrationRecord],
) -> None:
    """Compare calibration, model description, contract and files with each other.

    Parameters
    ----------
    root : Path
        The bundle's directory, for the message.
    files : mapping of str to FileEntry
        The payload.
    description : BundleDescription
        ``bundle.json``.
    contract : LoadedContract
        The bundle's contract.
    calibration : CalibrationRecord
        ``calibration.json``.
    variants : mapping of str to CalibrationRecord
        The same of every variant, by its folder.

    Raises
    ------
    BundleError
        Every pair that differs, with both values: the calibration was fitted on another model or for other
        thresholds, or the model expects another operator, grid, normalisation or mode than the contract says.
    """
    pairs = [
        *_calibration_pairs(files, contract.policy, calibration),
        *_model_pairs(description.model, contract.policy),
    ]
    said, found = description.preprocessing_digest, contract.preprocessing_digest
    pairs.append((f"{DESCRIPTION_FILE} preprocessing_digest", said, f"the digest of {CONTRACT_FILE}", found))
    if WEIGHTS_FILE in files:
        weights = files[WEIGHTS_FILE].sha256
        pairs.append(
            ("model.weights_sha256", description.model.weights_sha256, f"the SHA-256 of {WEIGHTS_FILE}", weights)
        )
    for folder, record in variants.items():
        pairs += _variant_pairs(folder, files, description.model.mode, contract.policy, record)
    wrong = [f"{one} is {a}, but {other} is {b}" for one, a, other, b in pairs if a != b]
    if wrong:
        raise BundleError(root, "\n".join(wrong))


def _calibration_pairs(
    files: Mapping[str, FileEntry], policy: PolicyContract, calibration: CalibrationRecord
) -> Iterator[_Pair]:
    point = policy.operating_point
    name = CALIBRATION_FILE
    fitted_on = calibration.fitted_on_model_sha256
    yield f"{name} fitted_on_model_sha256", fitted_on, f"the SHA-256 of {MODEL_FILE}", files[MODEL_FILE].sha256
    yield f"{name} thresholds.t_real", calibration.thresholds.t_real, "operating_point.t_real", point.t_real
    yield f"{name} thresholds.t_fake", calibration.thresholds.t_fake, "operating_point.t_fake", point.t_fake
    yield f"{name} method", calibration.method, "calibration.method", policy.calibration.method


def _variant_pairs(
    folder: str, files: Mapping[str, FileEntry], shipped: str, policy: PolicyContract, calibration: CalibrationRecord
) -> Iterator[_Pair]:
    """A variant's calibration is of the variant's own model, and no variant is of the shipped mode."""
    model, name = f"{folder}/{MODEL_FILE}", f"{folder}/{CALIBRATION_FILE}"
    found = files[model].sha256 if model in files else "missing"
    yield f"{name} fitted_on_model_sha256", calibration.fitted_on_model_sha256, f"the SHA-256 of {model}", found
    yield f"{name} method", calibration.method, "calibration.method", policy.calibration.method
    if folder.rpartition("/")[2] == shipped:
        yield folder, "the shipped mode once more", "a variant", "another mode"


def _model_pairs(model: ModelDescription, policy: PolicyContract) -> Iterator[_Pair]:
    grid, pixels = policy.patch_grid, policy.pixel_pipeline
    yield "model.grid", model.grid, "patch_grid.rows and cols", [grid.rows, grid.cols]
    yield "model.mode", model.mode, "quantization.mode", policy.quantization.mode
    for name in ("input_operator", "operator_scale", "stride", "receptive_field"):
        yield f"model.{name}", getattr(model, name), f"patch_grid.{name}", getattr(grid, name)
    for name in ("input_size", "normalisation_mean", "normalisation_std"):
        yield f"model.{name}", getattr(model, name), f"pixel_pipeline.{name}", getattr(pixels, name)
