"""Calibrating a bundle anew from its own logits, without its network: no torch, no tensorflow, no pictures."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from ecdd.bundle import Bundle, BundleError, ModelDescription, write_manifest
from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE, VARIANTS_FOLDER, WEIGHTS_FILE
from ecdd.bundle.variants import REPRESENTATIVE_FILE, SCORES_FILE, calibration_of, modes, place, refuse_existing
from ecdd.calibration.calibration_set_contract import ScoredPicture, read_scores, scores_csv
from ecdd.calibration.fitting import SMALL_LOGITS, FittedCalibration, fit_calibration
from ecdd.calibration.unseen_sources import CROSS_FITTED_FILE
from ecdd.contract.loading import LoadedContract
from ecdd.export.contract_text import read_contract, with_thresholds
from ecdd.files import write_bytes, write_text
from ecdd.inference.calibration import AppliedCalibration

ONNX_FILE = "model.onnx"
TRAINING_FILE = "training_record.json"
MoreMetrics = Callable[[bytes, AppliedCalibration], Mapping[str, float | int | str | None]]


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
    training_record : bytes or None
        JSON text that ships beside the model; None where its maker gave none.
    frozen_on : date
        Day the calibration set was frozen.
    cross_fitted : bytes, optional
        Scores of sources that the scoring training did not see (E6.5), where the training had folds.
    small_logits : bool
        Its maker says that the scores are logits though all lie between 0 and 1.
    """

    out: Path
    name: str
    release: str
    contract: str
    training_record: bytes | None
    frozen_on: datetime.date
    cross_fitted: bytes | None = None
    small_logits: bool = False


@dataclass(frozen=True, eq=False)
class Variant:
    """One mode's model and what the calibration pictures score with it.

    Attributes
    ----------
    model : bytes
        TFLite file.
    pictures : list of ScoredPicture
        Scored with this very file.
    representative : bytes or None
        JSON manifest of the data that the ranges were measured on.
    small_logits : bool
        Whether the scores are logits though all lie between 0 and 1.
    """

    model: bytes
    pictures: list[ScoredPicture]
    representative: bytes | None = None
    small_logits: bool = False

    def calibrate(self, contract: LoadedContract, created: datetime.date) -> FittedCalibration:
        """Fit calibration and thresholds on this mode's own logits; raises as `fit_calibration`."""
        digest = hashlib.sha256(self.model).hexdigest()
        return fit_calibration(self.pictures, contract.policy, digest, created, small_logits=self.small_logits)

    def write(self, folder: Path, fitted: FittedCalibration) -> None:
        """Write the mode's files."""
        write_bytes(folder / MODEL_FILE, self.model)
        write_text(folder / SCORES_FILE, scores_csv(self.pictures))
        write_bytes(folder / CALIBRATION_FILE, fitted.record.text())
        if self.representative is not None:
            write_bytes(folder / REPRESENTATIVE_FILE, self.representative)


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
    grid, pixels = contract.policy.patch_grid, contract.policy.pixel_pipeline
    said = {name: getattr(grid, name) for name in ("input_operator", "operator_scale", "stride", "receptive_field")}
    said |= {"grid": [grid.rows, grid.cols], "input_size": pixels.input_size}
    said |= {name: list(getattr(pixels, name)) for name in ("normalisation_mean", "normalisation_std")}
    model = bundle.manifest.model.model_copy(update={**said, "mode": contract.policy.quantization.mode})
    versions = {**bundle.manifest.created_by, "ecdd": version("ecdd"), "python": platform.python_version()}
    variants = {mode: _read(bundle, mode) for mode in modes(bundle)}
    return write_calibrated(files, variants, new, model, versions)


def _read(bundle: Bundle, mode: str) -> Variant:
    """A mode's files as they lie in a bundle."""
    record = place(bundle, mode, REPRESENTATIVE_FILE)
    return Variant(
        bundle.read(place(bundle, mode, MODEL_FILE)),
        read_scores(bundle.file(place(bundle, mode, SCORES_FILE))),
        bundle.read(record) if record in bundle.manifest.files else None,
        SMALL_LOGITS in calibration_of(bundle, mode).metrics,
    )


def write_calibrated(
    files: dict[str, bytes],
    variants: Mapping[str, Variant],
    new: NewBundle,
    model: ModelDescription,
    created_by: Mapping[str, str],
    more_metrics: MoreMetrics | None = None,
) -> FittedCalibration:
    """Calibrate every mode by itself, then write all of them; nothing is written where a fit is refused.

    Parameters
    ----------
    files : dict of str to bytes
        Weights and float reference, by name.
    variants : mapping of str to Variant
        By mode.
    new : NewBundle
        Where and what.
    model : ModelDescription
        Of the network.
    created_by : mapping of str to str
        Libraries and versions.
    more_metrics : callable, optional
        Given the TFLite file and the calibration, returns numbers that stand beside the calibration's own.

    Returns
    -------
    FittedCalibration
        Of the shipped mode.

    Raises
    ------
    CalibrationError, BundleError
        As `build_bundle`.
    """
    contract = read_contract(new.contract, new.out)
    shipped = contract.policy.quantization.mode
    if shipped not in variants:
        held = ", ".join(variants)
        raise BundleError(new.out, f"quantization.mode is {shipped}, but there are only the modes {held}")
    variants = {mode: replace(one, small_logits=one.small_logits or new.small_logits) for mode, one in variants.items()}
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
    if new.training_record is not None:
        write_bytes(new.out / TRAINING_FILE, new.training_record)
    if new.cross_fitted is not None:
        write_bytes(new.out / CROSS_FITTED_FILE, new.cross_fitted)
    write_manifest(new.out, name=new.name, version=new.release, model=model, created_by=created_by)
    return fitted[shipped]


def previous_release(bundle: Path) -> tuple[str, str, datetime.date, bytes | None]:
    """Read name, version, calibration day and training record of an existing bundle, to build it anew.

    The bundle is not checked as a whole: it is about to be replaced because something in it changed.

    Raises
    ------
    BundleError
        If the description or the calibration is missing or malformed; a training record may be missing.
    """
    from ecdd.bundle.calibration_record import CalibrationRecord
    from ecdd.bundle.loading import read_record
    from ecdd.bundle.manifest import DESCRIPTION_FILE, BundleDescription

    description = read_record(bundle, DESCRIPTION_FILE, BundleDescription)
    calibration = read_record(bundle, CALIBRATION_FILE, CalibrationRecord)
    record = (bundle / TRAINING_FILE).read_bytes() if (bundle / TRAINING_FILE).is_file() else None
    return description.name, description.version, calibration.created, record
