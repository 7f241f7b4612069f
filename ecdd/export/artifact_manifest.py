"""Build a bundle: export, calibrate, threshold, and write every file that ships."""

from __future__ import annotations

import datetime
import hashlib
import platform
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ecdd.bundle import Bundle, BundleError, ModelDescription, load_bundle, write_manifest
from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE, WEIGHTS_FILE
from ecdd.calibration.calibration_set_contract import (
    SCORES_FILE,
    ScoredPicture,
    read_scores,
    score_pictures,
    scores_csv,
)
from ecdd.calibration.fitting import FittedCalibration, fit_calibration
from ecdd.contract.loading import LoadedContract, load_contract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.export.exported_parity import ExportParity, compare
from ecdd.export.folding import ExportError, fold
from ecdd.export.onnx_export import OPSET, onnx_bytes
from ecdd.export.tflite_export import tflite_bytes
from ecdd.files import write_bytes, write_text
from ecdd.inference.calibration import AppliedCalibration
from ecdd.models.checkpoint import CheckpointIdentity, check_operator, load_weights
from ecdd.models.patch_network import PatchNetwork
from ecdd.pipeline.preprocess import normalise

ONNX_FILE = "model.onnx"
TRAINING_FILE = "training_record.json"
LIBRARIES = ("pillow", "numpy", "ai-edge-litert", "tensorflow", "onnx", "torch", "scipy")


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
    """

    out: Path
    name: str
    release: str
    contract: str
    training_record: bytes
    frozen_on: datetime.date


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
    pictures = []
    for picture in score_pictures(rows, contract.policy, exported.tflite):
        pictures.append(picture)
        progress(picture)
    files = {WEIGHTS_FILE: weights.read_bytes(), MODEL_FILE: exported.tflite, ONNX_FILE: exported.onnx}
    return _write_calibrated(files, pictures, contract, new, more_metrics)


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
    files = {name: bundle.read(name) for name in (WEIGHTS_FILE, MODEL_FILE, ONNX_FILE) if name in bundle.manifest.files}
    return _write_calibrated(files, read_scores(bundle.path / SCORES_FILE), contract, new, None)


def _write_calibrated(
    files: dict[str, bytes],
    pictures: list[ScoredPicture],
    contract: LoadedContract,
    new: NewBundle,
    more_metrics: MoreMetrics | None,
) -> FittedCalibration:
    model_sha256 = hashlib.sha256(files[MODEL_FILE]).hexdigest()
    fitted = fit_calibration(pictures, contract.policy, model_sha256, new.frozen_on)
    record = fitted.record
    if more_metrics is not None:
        applied = AppliedCalibration.of(record)
        record = record.model_copy(update={"metrics": {**record.metrics, **more_metrics(files[MODEL_FILE], applied)}})
    text = with_thresholds(new.contract, contract, fitted)
    for name, content in files.items():
        write_bytes(new.out / name, content)
    write_text(new.out / CONTRACT_FILE, text)
    write_text(new.out / SCORES_FILE, scores_csv(pictures))
    write_bytes(new.out / CALIBRATION_FILE, record.text())
    write_bytes(new.out / TRAINING_FILE, new.training_record)
    write_manifest(
        new.out,
        name=new.name,
        version=new.release,
        model=_description(contract, new.out / WEIGHTS_FILE),
        created_by=_created_by(),
    )
    return fitted


def refuse_existing(out: Path) -> None:
    """Refuse to write into a folder that holds something.

    Raises
    ------
    BundleError
        Naming it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(out, "already there; a bundle is never changed in place, name a new folder with --out")


def read_contract(text: str, place: Path) -> LoadedContract:
    """Load a contract from its text; messages name ``place``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (place.name + ".yaml")
        path.write_text(text, encoding="utf-8")
        return load_contract(path)


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


def set_contract_values(text: str, values: dict[str, float | str], status: str) -> str:
    """Replace values and statuses in the text of a contract, keeping comments, order and everything else.

    Parameters
    ----------
    text : str
        YAML with one ``key: {value: …, status: …, set_by: …}`` a line under its section.
    values : dict of str to value
        New values by ``section.key``.
    status : str
        ``proposed`` or ``frozen``.

    Returns
    -------
    str
        The new text.

    Raises
    ------
    ExportError
        If a key has no such line.
    """
    section, found = "", set()
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if heading := re.match(r"^(\w+):\s*(#.*)?$", line.rstrip()):
            section = heading[1]
        entry = re.match(r"^(  (\w+): \{value: )(.*?)(, status: )(\w+)(, set_by: [^}]*\}.*)$", line.rstrip("\n"))
        key = f"{section}.{entry[2]}" if entry else ""
        if entry and key in values:
            value = values[key]
            shown = repr(value) if isinstance(value, float) else f'"{value}"'
            lines[index] = f"{entry[1]}{shown}{entry[4]}{status}{entry[6]}\n"
            found.add(key)
    if missing := sorted(set(values) - found):
        msg = f"the contract has no line for {', '.join(missing)} of the form `key: {{value: …, status: …, set_by: …}}`"
        raise ExportError(msg)
    return "".join(lines)


def with_thresholds(text: str, contract: LoadedContract, fitted: FittedCalibration) -> str:
    """Text of the contract with the fitted thresholds, marked frozen; everything else stays as it is."""
    values: dict[str, float | str] = {
        "operating_point.t_real": fitted.thresholds.t_real,
        "operating_point.t_fake": fitted.thresholds.t_fake,
    }
    contract.with_values(dict(values), status="frozen")  # refuses what the schema does not allow
    return set_contract_values(text, values, "frozen")


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
