"""Loading a bundle: nothing of it is used before all of it has been checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ecdd.bundle.agreement import check_agreement
from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.calibration_record import CalibrationRecord
from ecdd.bundle.manifest import (
    CALIBRATION_FILE,
    CONTRACT_FILE,
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    REQUIRED_FILES,
    VARIANTS_FOLDER,
    BundleDescription,
    BundleManifest,
    FileEntry,
    FileList,
    Record,
)
from ecdd.bundle.payload import compare, entries_digest
from ecdd.contract.loading import DEFAULT_CONTRACT, ContractError, LoadedContract, load_contract

MAX_RECORD_BYTES = 2**22
_SHIPPED_AS = {"lite": "default"}  # a network's name, where the folder has another
_AnyRecord = TypeVar("_AnyRecord", bound=Record)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes
    ----------
    path : Path
        The directory.
    manifest : BundleManifest
        Description, files and payload digest.
    contract : LoadedContract
        The bundle's own copy.
    calibration : CalibrationRecord
        Fitted on the shipped model.
    """

    path: Path
    manifest: BundleManifest
    contract: LoadedContract
    calibration: CalibrationRecord

    @property
    def payload_digest(self) -> str:
        """SHA-256 over every file of the payload."""
        return self.manifest.payload_digest

    def file(self, name: str) -> Path:
        """Return the path of a file of the payload.

        Raises
        ------
        BundleError
            The manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(self.path, f"this bundle has no {name}", missing=[name])
        return self.path / name

    def read(self, name: str) -> bytes:
        """Read a file of the payload, and check again that it is the listed one.

        Parameters
        ----------
        name : str
            Relative name, for example ``"model.tflite"``.

        Returns
        -------
        bytes
            The content whose digest the manifest lists.

        Raises
        ------
        BundleError
            Not listed, not readable, or changed since the bundle was loaded.
        """
        try:
            content = self.file(name).read_bytes()
        except OSError as error:
            raise BundleError(self.path, f"{name} cannot be read: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name].sha256:
            raise BundleError(self.path, f"{name} changed while the bundle was in use", mismatched=[name])
        return content


def default_bundle_path() -> Path:
    """Return where the bundle that ships with the package lies."""
    return DEFAULT_CONTRACT.parent


def bundle_path(path: Path | str | None) -> Path:
    """Return the folder that ``--bundle`` means.

    Parameters
    ----------
    path : Path or str, optional
        A folder, or the name of a bundle that ships with the package (``lite``, ``tiny``) where no such folder lies
        here; the default bundle where not given.

    Returns
    -------
    Path
        Whether a bundle lies there is not looked at.
    """
    if path is None:
        return default_bundle_path()
    given = Path(path)
    if given.exists() or len(given.parts) != 1:
        return given
    shipped = default_bundle_path().with_name(_SHIPPED_AS.get(given.name, given.name))
    return shipped if shipped.is_dir() else given


def load_bundle(path: Path | str | None = None) -> Bundle:
    """Load a bundle and check every byte of its payload.

    Parameters
    ----------
    path : Path or str, optional
        As for `bundle_path`.

    Returns
    -------
    Bundle
        With contract and calibration.

    Raises
    ------
    BundleError
        A file is extra, missing or changed, a record or the contract is wrong, or parts contradict each other.
    """
    root = bundle_path(path)
    if path is None and not (root / MANIFEST_FILE).exists():
        raise BundleError(root, "this installation has no default bundle; name one with --bundle PATH")
    files = _read_list(root)
    compare(root, files.files)
    description, contract, calibration = read_parts(root, files.files)
    check_agreement(root, files.files, description, contract, calibration, read_variants(root, files.files))
    manifest = BundleManifest(
        **{name: getattr(description, name) for name in BundleDescription.model_fields},
        files=files.files,
        payload_digest=files.payload_digest,
    )
    return Bundle(root, manifest, contract, calibration)


def _read_list(root: Path) -> FileList:
    """Read ``manifest.json`` and check it against itself."""
    if root.is_dir() and not (root / MANIFEST_FILE).exists():
        raise BundleError(root, f"no {MANIFEST_FILE}; this is no bundle", missing=[MANIFEST_FILE])
    content = _read(root, MANIFEST_FILE, None)
    files = _parsed(root, MANIFEST_FILE, content, FileList)
    if content != files.text():
        raise BundleError(
            root,
            f"{MANIFEST_FILE} is not in its exact form; it was edited by hand or damaged",
            mismatched=[MANIFEST_FILE],
        )
    digest = entries_digest(files.files)
    if digest != files.payload_digest:
        raise BundleError(
            root,
            f"{MANIFEST_FILE}: payload_digest is {files.payload_digest}, but its list of files gives {digest}",
            mismatched=[MANIFEST_FILE],
        )
    required = [name for name in REQUIRED_FILES if name not in files.files]
    if required:
        raise BundleError(root, "a bundle needs these files", missing=required)
    return files


def read_record(
    root: Path, name: str, kind: type[_AnyRecord], listed: Mapping[str, FileEntry] | None = None
) -> _AnyRecord:
    """Read one JSON record of a bundle.

    Parameters
    ----------
    root : Path
        The bundle's directory.
    name : str
        Relative name of the file.
    kind : type
        The record's model.
    listed : mapping of str to FileEntry, optional
        Files of the manifest; the bytes that are parsed must be those listed there.

    Returns
    -------
    Record
        Of the type asked for.

    Raises
    ------
    BundleError
        Missing, too large, no JSON, not what the model asks for, or not the listed file; every problem is listed.
    """
    return _parsed(root, name, _read(root, name, listed), kind)


def _read(root: Path, name: str, listed: Mapping[str, FileEntry] | None) -> bytes:
    """Read a small file once; with a list, it must still be the listed one, for it was hashed before."""
    path = root / name
    try:
        if path.is_symlink():
            raise BundleError(root, f"{name} is a symbolic link; a bundle holds plain files only")
        if not path.is_file():
            raise BundleError(root, "no such bundle" if not root.exists() else f"no file {name}", missing=[name])
        size = path.stat().st_size
        if size > MAX_RECORD_BYTES:
            raise BundleError(root, f"{name} has {size} bytes; at most {MAX_RECORD_BYTES}", mismatched=[name])
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(root, f"{name} cannot be read: {error.strerror}") from None
    if listed is not None and (name not in listed or hashlib.sha256(content).hexdigest() != listed[name].sha256):
        raise BundleError(root, f"{name} changed while the bundle was loaded", mismatched=[name])
    return content


def _parsed(root: Path, name: str, content: bytes, kind: type[_AnyRecord]) -> _AnyRecord:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        lines = [
            f"{name}: {'.'.join(str(step) for step in detail['loc']) or 'content'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise BundleError(root, "\n".join(lines), mismatched=[name]) from None


def read_variants(root: Path, files: Mapping[str, FileEntry]) -> dict[str, CalibrationRecord]:
    """Read the calibration of every variant, by its folder.

    Raises
    ------
    BundleError
        A variant without model or calibration, or one of them is wrong.
    """
    folders = sorted({name.rpartition("/")[0] for name in files if name.startswith(f"{VARIANTS_FOLDER}/")})
    needed = [f"{folder}/{name}" for folder in folders for name in (MODEL_FILE, CALIBRATION_FILE)]
    if missing := [name for name in needed if name not in files]:
        raise BundleError(root, "a variant needs its model and its calibration", missing=missing)
    return {folder: read_record(root, f"{folder}/{CALIBRATION_FILE}", CalibrationRecord, files) for folder in folders}


def read_parts(
    root: Path, listed: Mapping[str, FileEntry]
) -> tuple[BundleDescription, LoadedContract, CalibrationRecord]:
    """Read description, contract and calibration of a bundle directory, each from the bytes that the manifest lists.

    Raises
    ------
    BundleError
        One of them is wrong.
    """
    try:
        contract = load_contract(root / CONTRACT_FILE, _read(root, CONTRACT_FILE, listed))
    except ContractError as error:
        raise BundleError(root, str(error), mismatched=[CONTRACT_FILE]) from None
    return (
        read_record(root, DESCRIPTION_FILE, BundleDescription, listed),
        contract,
        read_record(root, CALIBRATION_FILE, CalibrationRecord, listed),
    )
