"""Writing the two records that make a directory a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ecdd.bundle.agreement import check_agreement
from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.loading import load_bundle, read_record, read_variants
from ecdd.bundle.manifest import (
    CALIBRATION_FILE,
    CONTRACT_FILE,
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    REQUIRED_FILES,
    BundleDescription,
    BundleManifest,
    FileList,
    ModelDescription,
)
from ecdd.bundle.payload import entries_digest, payload_entries, payload_sizes
from ecdd.contract.loading import ContractError, load_contract
from ecdd.files import write_bytes


def write_manifest(
    path: Path | str,
    *,
    name: str | None = None,
    version: str | None = None,
    model: ModelDescription | None = None,
    created_by: Mapping[str, str] | None = None,
) -> BundleManifest:
    """Write ``bundle.json`` and ``manifest.json`` for the files that lie in a directory.

    The contract, the model and the calibration must be there already. Where `name`, `version`, `model` or
    `created_by` is not given, the existing ``bundle.json``'s is kept: so adding golden outputs to a bundle is
    ``write_manifest(path)``.

    Parameters
    ----------
    path : Path or str
        The bundle's directory.
    name, version : str, optional
        Of the bundle.
    model : ModelDescription, optional
        What the weights cannot say of themselves.
    created_by : mapping of str to str, optional
        Library names and versions.

    Returns
    -------
    BundleManifest
        As `load_bundle` reads it back.

    Raises
    ------
    BundleError
        A required file is missing, or the parts contradict each other; nothing is written then.
    """
    root = Path(path)
    sizes = payload_sizes(root)
    missing = [item for item in REQUIRED_FILES if item not in sizes and item != DESCRIPTION_FILE]
    if missing:
        raise BundleError(root, "a bundle needs these files", missing=missing)
    try:
        contract = load_contract(root / CONTRACT_FILE)
    except ContractError as error:
        raise BundleError(root, str(error), mismatched=[CONTRACT_FILE]) from None
    old = read_record(root, DESCRIPTION_FILE, BundleDescription) if DESCRIPTION_FILE in sizes else None
    description = _description(root, old, name, version, model, created_by, contract.preprocessing_digest)
    calibration = read_record(root, CALIBRATION_FILE, CalibrationRecord)
    entries = payload_entries(root)
    check_agreement(root, entries, description, contract, calibration, read_variants(root, entries))
    write_bytes(root / DESCRIPTION_FILE, description.text())
    entries = payload_entries(root)
    files = FileList(files=entries, payload_digest=entries_digest(entries))
    write_bytes(root / MANIFEST_FILE, files.text())
    return load_bundle(root).manifest


def _description(
    root: Path,
    old: BundleDescription | None,
    name: str | None,
    version: str | None,
    model: ModelDescription | None,
    created_by: Mapping[str, str] | None,
    preprocessing_digest: str,
) -> BundleDescription:
    """Merge what is given with what the bundle said before."""
    name = name if name is not None else (old.name if old else None)
    version = version if version is not None else (old.version if old else None)
    model = model if model is not None else (old.model if old else None)
    created_by = created_by if created_by is not None else (old.created_by if old else None)
    if name is None or version is None or model is None or created_by is None:
        raise BundleError(root, f"no {DESCRIPTION_FILE} yet: name, version, model and created_by are needed")
    return BundleDescription(
        name=name,
        version=version,
        model=model,
        preprocessing_digest=preprocessing_digest,
        created_by=dict(created_by),
    )
