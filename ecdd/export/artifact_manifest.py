"""Build a bundle: export, calibrate, threshold, and write every file that ships."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ecdd.bundle import ModelDescription, load_bundle, write_manifest
from ecdd.bundle.manifest import WEIGHTS_FILE
from ecdd.bundle.variants import refuse_existing
from ecdd.calibration.calibration_set_contract import ScoredPicture
from ecdd.calibration.fitting import FittedCalibration
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.export.contract_text import read_contract
from ecdd.export.export_error import ExportError
from ecdd.export.exported_parity import ExportParity, compare
from ecdd.export.folding import fold
from ecdd.export.onnx_export import OPSET, onnx_bytes
from ecdd.export.recalibrating import ONNX_FILE, MoreMetrics, NewBundle, write_calibrated
from ecdd.export.tflite_export import tflite_bytes
from ecdd.export.variants import make_variants
from ecdd.models.checkpoint import CheckpointIdentity, check_operator, load_weights
from ecdd.models.patch_network import PatchNetwork
from ecdd.pipeline.preprocess import normalise

LIBRARIES = ("pillow", "numpy", "ai-edge-litert", "ai-edge-quantizer", "tensorflow", "onnx", "torch", "scipy")


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
    ]
    if identity.tensor_digest:  # nobody knows it of a checkpoint from elsewhere
        pairs.append(("tensor_digest", identity.tensor_digest, contract.tensor_digest))
    wrong = [f"{name} is {said}, the contract says {wanted}" for name, said, wanted in pairs if said != wanted]
    if wrong:
        msg = f"{path.name}: trained for other pixels ({'; '.join(wrong)}); train again under this contract"
        raise ExportError(msg)


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
    return write_calibrated(files, variants, new, _description(contract, weights), _created_by(), more_metrics)


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
