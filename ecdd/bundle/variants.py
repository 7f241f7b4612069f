"""Variants: the same network in other quantisation modes, each with its own calibration, beside the shipped one.

The shipped mode's files lie at the root of a bundle, every other mode's under ``variants/<mode>/`` by the same names.
`ship` swaps them: the new bundle has another model, calibration, contract and so another digest and evidence of its
own. Shipping the first mode again gives the first payload back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.bundle.manifest import (
    CALIBRATION_FILE,
    CONTRACT_FILE,
    DESCRIPTION_FILE,
    MODEL_FILE,
    VARIANTS_FOLDER,
    FileEntry,
)
from ecdd.bundle.writing import write_manifest
from ecdd.contract.value_lines import set_contract_values
from ecdd.files import write_bytes, write_text

SCORES_FILE = "calibration_scores.csv"
REPRESENTATIVE_FILE = "representative_data.json"
MODE_FILES = (MODEL_FILE, CALIBRATION_FILE, SCORES_FILE, REPRESENTATIVE_FILE)  # what a mode has of its own
GOLDEN_OUTPUTS = "golden_outputs/"
_PLACE = re.compile(rf"^{VARIANTS_FOLDER}/([^/]+)/([^/]+)$")


def modes(bundle: Bundle) -> tuple[str, ...]:
    """Every mode that a bundle holds, the shipped one first, the others by name."""
    return bundle.manifest.model.mode, *other_modes(bundle.manifest.files)


def other_modes(files: Mapping[str, FileEntry]) -> list[str]:
    """Modes under ``variants/``, sorted."""
    return sorted({match[1] for name in files if (match := _PLACE.match(name))})


def place(bundle: Bundle, mode: str, name: str) -> str:
    """Where a mode's file lies in a bundle.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    mode : str
        One of `modes`.
    name : str
        One of `MODE_FILES`.

    Returns
    -------
    str
        Relative name.

    Raises
    ------
    BundleError
        If the bundle does not hold the mode.
    """
    held = modes(bundle)
    if mode not in held:
        wanted = f"no variant {mode!r}; this bundle holds {', '.join(held)}, `ecdd calibrate --data` makes them"
        raise BundleError(bundle.path, wanted)
    return name if mode == held[0] else f"{VARIANTS_FOLDER}/{mode}/{name}"


def calibration_of(bundle: Bundle, mode: str) -> CalibrationRecord:
    """Calibration of a mode, fitted on that mode's own logits; raises as `place`."""
    if mode == bundle.manifest.model.mode:
        return bundle.calibration
    return CalibrationRecord.model_validate_json(bundle.read(place(bundle, mode, CALIBRATION_FILE)))


def ship(bundle: Bundle, mode: str, out: Path, *, name: str | None = None, release: str | None = None) -> Bundle:
    """Write a bundle that ships another mode.

    Model, calibration, its logits, ``quantization.mode`` and the two thresholds change together. Golden outputs stay
    behind: their S7 and S8 are of the other calibration.

    Parameters
    ----------
    bundle : Bundle
        Where the variants are; it is not changed.
    mode : str
        One of `modes`.
    out : Path
        Folder to write; it must not exist, or be empty.
    name, release : str, optional
        Of the new bundle; as the old one's.

    Returns
    -------
    Bundle
        As it was read back.

    Raises
    ------
    BundleError
        If something lies in the folder, or the bundle does not hold the mode.
    """
    refuse_existing(out)
    calibration = calibration_of(bundle, mode)
    old = bundle.manifest.model.mode
    moved = {place(bundle, mode, item): item for item in MODE_FILES}
    if mode != old:
        moved |= {item: f"{VARIANTS_FOLDER}/{old}/{item}" for item in MODE_FILES}
    own = {CONTRACT_FILE, DESCRIPTION_FILE}
    for file in bundle.manifest.files:
        if file not in own and (mode == old or not file.startswith(GOLDEN_OUTPUTS)):
            write_bytes(out / moved.get(file, file), bundle.read(file))
    point = calibration.thresholds
    values: dict[str, float | str] = {
        "quantization.mode": mode,
        "operating_point.t_real": point.t_real,
        "operating_point.t_fake": point.t_fake,
    }
    write_text(out / CONTRACT_FILE, set_contract_values(bundle.read(CONTRACT_FILE).decode(), values, None))
    write_manifest(
        out,
        name=name or bundle.manifest.name,
        version=release or bundle.manifest.version,
        model=bundle.manifest.model.model_copy(update={"mode": mode}),
        created_by=bundle.manifest.created_by,
    )
    return load_bundle(out)


def refuse_existing(out: Path) -> None:
    """Refuse to write into a folder that holds something.

    Raises
    ------
    BundleError
        Naming it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(out, "already there; a bundle is never changed in place, name a new folder with --out")
