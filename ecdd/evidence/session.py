"""One run of the gates: its options, its folder, and the identity of what it measures."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.evidence.records import RunIdentity
from ecdd.specification import ROOT

_LIBRARIES: Final = ("numpy", "pillow", "ai-edge-litert", "pydantic", "onnxruntime", "opencv-python-headless")
_UNKNOWN: Final = "unknown"
# pytest run on the specification wherever it stands, untouched by settings of the project around it
SPECIFICATION_ARGUMENTS: Final = (
    *("-p", "ecdd.evidence.pytest_plugin", "-p", "no:cacheprovider", "--strict-markers", "-ra"),
    *("-c", os.devnull, "--rootdir", str(ROOT), "--confcutdir", str(ROOT)),
)


@dataclass(frozen=True)
class RunOptions:
    """What the command line asked for.

    Attributes
    ----------
    root : Path
        The project.
    bundle, contract, golden, data : Path or None
        Replacements for the defaults.
    report_dir : Path or None
        Where records go; by default ``reports/runs/<payload digest>``.
    expected : Path or None
        Expected verdicts to judge against.
    as_of : date
        Day at which ages and expiries are judged.
    """

    root: Path
    bundle: Path | None
    contract: Path | None
    golden: Path
    data: Path | None
    report_dir: Path | None
    expected: Path | None
    as_of: datetime.date

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.report_dir is not None:
            return self.report_dir
        name = payload_digest_of(self.bundle)[:16]
        if self.contract is not None:  # another contract's records must not stand among the bundle's own
            name += f"-contract-{(file_digest(self.contract) or _UNKNOWN)[:8]}"
        return self.root / "reports" / "runs" / name


def payload_digest_of(bundle: Path | None) -> str:
    """Payload digest that a bundle's manifest cites, unchecked; the `bundle` fixture checks it."""
    from ecdd.bundle.loading import default_bundle_path

    path = (bundle or default_bundle_path()) / "manifest.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["payload_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return _UNKNOWN


def contract_path(options: RunOptions) -> Path:
    """The contract that a run judges by: the one given, or the bundle's own."""
    from ecdd.bundle.loading import default_bundle_path

    return options.contract or (options.bundle or default_bundle_path()) / "policy_contract.yaml"


def file_digest(path: Path | None) -> str | None:
    """SHA-256 of a file; None without one."""
    if path is None:
        return None
    file = path / "manifest.csv" if path.is_dir() else path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else _UNKNOWN


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions and processor features that can change a result."""
    from ecdd.golden.golden_hashes import platform_fingerprint
    from ecdd.pipeline.decode import decoder_fingerprint

    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["vector_instructions"] = platform_fingerprint()["vector_instructions"]
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found | decoder_fingerprint()


def identify(options: RunOptions) -> RunIdentity:
    """Digests of everything that a run's numbers belong to.

    Parameters
    ----------
    options : RunOptions
        The run.

    Returns
    -------
    RunIdentity
        ``"unknown"`` where a part cannot be read; the tests that need it then fail by themselves.
    """
    from ecdd.contract.loading import ContractError, load_contract

    try:
        contract = load_contract(contract_path(options))
        digests = (contract.digest, contract.preprocessing_digest)
    except (ContractError, OSError):
        digests = (_UNKNOWN, _UNKNOWN)
    return RunIdentity(
        contract_digest=digests[0],
        preprocessing_digest=digests[1],
        payload_digest=payload_digest_of(options.bundle),
        golden_digest=file_digest(options.golden / "manifest.yaml") or _UNKNOWN,
        data_digest=file_digest(options.data),
        versions=library_versions(),
        as_of=options.as_of.isoformat(),
    )
