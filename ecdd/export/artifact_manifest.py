"""Build a bundle: export, calibrate, threshold, and write every file that ships."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ecdd.bundle import Bundle, BundleError, ModelDescription, load_bundle, write_manifest
from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE, VARIANTS_FOLDER, WEIGHTS_FILE
from ecdd.bundle.variants import REPRESENTATIVE_FILE, SCORES_FILE, modes, place, refuse_existing
from ecdd.calibration.calibration_set_contract import ScoredPicture, read_scores
from ecdd.calibration.fitting import FittedCalibration
from ecdd.calibration.unseen_sources import CROSS_FITTED_FILE
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.export.contract_text import read_contract, with_thresholds
from ecdd.export.export_error import ExportError
from ecdd.export.exported_parity import ExportParity, compare
from ecdd.export.folding import fold
from ecdd.export.onnx_export import OPSET, onnx_bytes
from ecdd.export.tflite_export import tflite_bytes
from ecdd.export.variants import Variant, make_variants
from ecdd.files import write_bytes, write_text
from ecdd.inference.calibration import AppliedCalibration
from ecdd.models.checkpoint import CheckpointIdentity, check_operator, load_weights
from ecdd.models.patch_network import PatchNetwork
from ecdd.pipeline.preprocess import normalise

ONNX_FILE = "model.onnx"
TRAINING_FILE = "training_record.json"
LIBRARIES = ("pillow", "numpy", "ai-edge-litert", "ai-edge-quantizer", "tensorflow", "onnx", "torch", "scipy")


MoreMetrics = Callable[[bytes, AppliedCalibration], Mapping[str, float | int | str | None]]


@dataclass(frozen=True)
class Exported:
    """Both exported files and how close they are to the float64 model."""

    tflite: bytes
    onnx: bytes
    parity: ExportParity


def export_model(model: PatchNetwork, contract: LoadedContract, seed: int = 0, n: int = 16) -> Exported:
    """Export to TFLite and ONNX and compare both with the model on seeded tensors.

    Parameters
    ----------
    model : PatchNetwork
        In evaluation mode.
    contract : LoadedContract
        Input size, normalisation and the tolerance ``patch_grid.tolerance_s5``.
    seed, n : int
        Tensors to compare on: smoothed noise of several contrasts, and constant ones.

    Returns
    -------
    Exported
        Files and parity.

    Raises
    ------
    ExportError
        If a file differs from the model by more than the tolerance.
    """
    policy = contract.policy
    side = policy.pixel_pipeline.input_size
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (n, side, side, 3)).astype(np.float64)
    for k in range(n):
        for _ in range(k % 4):  # from white noise to something smooth
            levels[k] = (levels[k] + np.roll(levels[k], 1, 0) + np.roll(levels[k], 1, 1)) / 3
    batch = np.stack([normalise(np.round(level).astype(np.uint8), policy.pixel_pipeline) for level in levels])
    folded = fold(model)
    tflite, onnx = tflite_bytes(folded, side, policy.pooling), onnx_bytes(folded, side, policy.pooling)
    return Exported(tflite, onnx, compare(model, tflite, onnx, batch, policy.patch_grid.tolerance_s5))


def check_identity(identity: CheckpointIdentity, contract: LoadedContract, path: Path) -> None:
    """Refuse weights that were trained for other pixels than the contract makes.

    Raises
    ------
    CheckpointError
        If operator or factor differ.
    ExportError
        If normalisation, input size or the preprocessing digest differ.
    """
    policy = contract.policy
    check_operator(identity, policy.patch_grid.input_operator, policy.patch_grid.operator_scale, path)
    pixels = policy.pixel_pipeline
    pairs = [
        ("normalisation_mean", list(identity.normalisation_mean), list(pixels.normalisation_mean)),
        ("normalisation_std", list(identity.normalisation_std), list(pixels.normalisation_std)),
        ("pixel_scale", identity.pixel_scale, pixels.pixel_scale),
        ("input_size", identity.input_size, pixels.input_size),
        ("tensor_digest", identity.tensor_digest, contract.tensor_digest),
    ]
    wrong = [f"{name} is {said}, the contract says {wanted}" for name, said, wanted in pairs if said != wanted]
    if wrong:
        msg = f"{path.name}: trained for other pixels ({'; '.join(wrong)}); train again under this contract"
        raise ExportError(msg)


@dataclass(frozen=True)
class NewBundle:
    """What a new bundle is called and begins with.

    Attributes
    ----------
    out : Path
        Folder to write; it must not exist, or be empty: a bundle is never changed in place.
    name, release : str
        Name and version.
    contract : str
        Text of the contract; its two thresholds are rewritten.
    training_record : bytes
        JSON text that ships beside the model.
    frozen_on : date
        Day the calibration set was frozen.
    cross_fitted : bytes, optional
        Scores of sources that the scoring training did not see (E6.5), where the training had folds.
    """

    out: Path
    name: str
    release: str
    contract: str
    training_record: bytes
    frozen_on: datetime.date
    cross_fitted: bytes | None = None


def build_bundle(
    weights: Path,
    rows: list[TaggedRow],
    new: NewBundle,
    *,
    more_metrics: MoreMetrics | None = None,
    progress: Callable[[ScoredPicture], None] = lambda _: None,
) -> FittedCalibration:
    """Export weights, score the calibration pictures with the exported file, calibrate, and write a new bundle.

    Parameters
    ----------
    weights : Path
        Checkpoint written by `ecdd.models.checkpoint.save_weights`.
    rows : list of (ManifestRow, SplitRow)
        CALIBRATION faces.
    new : NewBundle
        Where and what.
    more_metrics : callable, optional
        Given the TFLite file and the calibration, returns numbers that stand beside the calibration's own.
    progress : callable
        Called after every scored picture.

    Returns
    -------
    FittedCalibration
        What was fitted.

    Raises
    ------
    ExportError, CheckpointError, CalibrationError, ContractError, BundleError
        Each names the file, the value and what to do.
    """
    refuse_existing(new.out)
    contract = read_contract(new.contract, new.out)
    model, identity = load_weights(weights)
    check_identity(identity, contract, weights)
    exported = export_model(model, contract)
    variants = make_variants(fold(model), exported.tflite, rows, contract, progress)
    files = {WEIGHTS_FILE: weights.read_bytes(), ONNX_FILE: exported.onnx}
    return _write_calibrated(files, variants, contract, new, more_metrics)


def recalibrate_bundle(bundle: Bundle, new: NewBundle) -> FittedCalibration:
    """Calibrate a bundle's model anew from its own committed calibration logits; parameters as in `build_bundle`.

    Raises
    ------
    BundleError
        If the bundle holds no calibration logits.
    """
    refuse_existing(new.out)
    if SCORES_FILE not in bundle.manifest.files:
        raise BundleError(bundle.path, f"the bundle holds no {SCORES_FILE}; score pictures with --data")
    contract = read_contract(new.contract, new.out)
    files = {name: bundle.read(name) for name in (WEIGHTS_FILE, ONNX_FILE) if name in bundle.manifest.files}
    return _write_calibrated(files, {mode: _read(bundle, mode) for mode in modes(bundle)}, contract, new, None)


def _read(bundle: Bundle, mode: str) -> Variant:
    """A mode's files as they lie in a bundle."""
    record = place(bundle, mode, REPRESENTATIVE_FILE)
    return Variant(
        bundle.read(place(bundle, mode, MODEL_FILE)),
        read_scores(bundle.file(place(bundle, mode, SCORES_FILE))),
        bundle.read(record) if record in bundle.manifest.files else None,
    )


def _write_calibrated(
    files: dict[str, bytes],
    variants: Mapping[str, Variant],
    contract: LoadedContract,
    new: NewBundle,
    more_metrics: MoreMetrics | None,
) -> FittedCalibration:
    """Calibrate every mode by itself and write all of them; returns what the shipped mode's calibration is."""
    shipped = contract.policy.quantization.mode
    if shipped not in variants:
        held = ", ".join(variants)
        raise BundleError(new.out, f"quantization.mode is {shipped}, but there are only the modes {held}")
    fitted = {mode: variant.calibrate(contract, new.frozen_on) for mode, variant in variants.items()}
    if more_metrics is not None:
        own = fitted[shipped]
        more = more_metrics(variants[shipped].model, AppliedCalibration.of(own.record))
        record = own.record.model_copy(update={"metrics": {**own.record.metrics, **more}})
        fitted[shipped] = replace(own, record=record)
    text = with_thresholds(new.contract, contract, fitted[shipped])
    for name, content in files.items():
        write_bytes(new.out / name, content)
    for mode, variant in variants.items():
        folder = new.out if mode == shipped else new.out / VARIANTS_FOLDER / mode
        variant.write(folder, fitted[mode])
    write_text(new.out / CONTRACT_FILE, text)
    write_bytes(new.out / TRAINING_FILE, new.training_record)
    if new.cross_fitted is not None:
        write_bytes(new.out / CROSS_FITTED_FILE, new.cross_fitted)
    write_manifest(
        new.out,
        name=new.name,
        version=new.release,
        model=_description(contract, new.out / WEIGHTS_FILE),
        created_by=_created_by(),
    )
    return fitted[shipped]


def previous_release(bundle: Path) -> tuple[str, str, datetime.date, bytes]:
    """Read name, version, calibration day and training record of an existing bundle, to build it anew.

    The bundle is not checked as a whole: it is about to be replaced because something in it changed.

    Raises
    ------
    BundleError
        If one of the records is missing or malformed.
    """
    from ecdd.bundle.calibration_record import CalibrationRecord
    from ecdd.bundle.loading import read_record
    from ecdd.bundle.manifest import DESCRIPTION_FILE, BundleDescription

    description = read_record(bundle, DESCRIPTION_FILE, BundleDescription)
    calibration = read_record(bundle, CALIBRATION_FILE, CalibrationRecord)
    try:
        record = (bundle / TRAINING_FILE).read_bytes()
    except OSError as error:
        raise BundleError(bundle, f"{TRAINING_FILE} cannot be read: {error.strerror}") from None
    return description.name, description.version, calibration.created, record


def refresh_manifest(bundle: Path) -> str:
    """Rewrite the manifest of a bundle whose files changed, and return the new payload digest.

    Raises
    ------
    BundleError
        If the parts contradict each other.
    """
    write_manifest(bundle)
    return load_bundle(bundle).payload_digest


def _description(contract: LoadedContract, weights: Path) -> ModelDescription:
    model, _ = load_weights(weights)
    grid, pixels = contract.policy.patch_grid, contract.policy.pixel_pipeline
    return ModelDescription(
        architecture=model.architecture,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        input_operator=grid.input_operator,
        operator_scale=grid.operator_scale,
        grid=[grid.rows, grid.cols],
        stride=grid.stride,
        receptive_field=grid.receptive_field,
        input_size=pixels.input_size,
        normalisation_mean=list(pixels.normalisation_mean),
        normalisation_std=list(pixels.normalisation_std),
        mode=contract.policy.quantization.mode,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )


def _created_by() -> dict[str, str]:
    versions = {library: version(library) for library in LIBRARIES}
    return {"ecdd": version("ecdd"), "python": platform.python_version(), "onnx opset": str(OPSET), **versions}
