"""One run of the gates: its options, its folder, and the identity of what it measures."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.errors import EcddError
from ecdd.evidence.records import RunIdentity
from ecdd.files import read_json
from ecdd.specification import GATES, GOLDEN, PACKAGE, ROOT

_LIBRARIES: Final = ("numpy", "pillow", "ai-edge-litert", "pydantic", "onnxruntime", "opencv-python-headless")
_UNKNOWN: Final = "unknown"
DECLARED_FILE: Final = "declared.yaml"
# what judges: clauses, their support and the package; not what a wheel leaves out, nor what judges the gates themselves
_CODE: Final = frozenset({".py", ".yaml", ".j2", ".parquet"})
_NO_CLAUSES: Final = frozenset({"_specification", "__pycache__", "units", "benchmarks", "own_model", "mutants", "edge"})
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
    dumps : Path or None
        Folder with dumps of other machines.
    """

    root: Path
    bundle: Path | None
    contract: Path | None
    golden: Path
    data: Path | None
    report_dir: Path | None
    expected: Path | None
    as_of: datetime.date
    dumps: Path | None = None

    @functools.cached_property
    def folder(self) -> Path:
        """The run's folder, of the payload digest at its beginning."""
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
        return str(read_json(path)["payload_digest"])
    except (OSError, EcddError, KeyError, TypeError):
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


def is_gates_code(path: Path) -> bool:
    """Whether a file is covered by the digest of the gates' code."""
    return any(
        path.is_relative_to(root) and not _NO_CLAUSES & set(path.relative_to(root).parts)
        for root in (PACKAGE, GATES)
        if path.suffix in _CODE
    )


@functools.cache
def gates_digest() -> str:
    """SHA-256 over the code of package and clauses, and over the score tables that come with the specification.

    The same in a checkout and in the wheel made of it.
    """
    found: dict[str, Path] = {}
    for name, root in (("ecdd", PACKAGE), ("gates", GATES), ("scores", ROOT / "reports" / "default" / "scores")):
        files = [path for path in root.rglob("*") if path.suffix in _CODE and path.is_file()]
        found |= {
            f"{name}/{path.relative_to(root).as_posix()}": path
            for path in files
            if not _NO_CLAUSES & set(path.relative_to(root).parts)
        }
    lines = (f"{name}\0{hashlib.sha256(found[name].read_bytes()).hexdigest()}\n" for name in sorted(found))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def stages_digest(golden: Path) -> str:
    """SHA-256 over the frozen stages of a golden set."""
    paths = sorted((golden / "stages").glob("*"))
    lines = (f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in paths if path.is_file())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def declared_path(root: Path) -> Path:
    """The declarations that a run in a project goes by: its own where there are some, or the specification's."""
    own = root / "gates" / DECLARED_FILE
    return own if own.is_file() else GATES / DECLARED_FILE


def not_the_specification(identity: RunIdentity) -> list[str]:
    """Parts of a run's identity that are not those of this package: what an applicant may not bring along.

    Parameters
    ----------
    identity : RunIdentity
        Of a run.

    Returns
    -------
    list of str
        One line a part. The frozen stages of another preprocessing are a project's own; those of the package's
        preprocessing are the package's.
    """
    preprocessing, stages = _own_stages()
    parts = {
        "declarations": (identity.declared_digest, file_digest(GATES / DECLARED_FILE)),
        "gates' code": (identity.gates_digest, gates_digest()),
        "golden set": (identity.golden_digest, file_digest(GOLDEN / "manifest.yaml")),
    }
    if identity.preprocessing_digest == preprocessing:
        parts["golden stages"] = (identity.stages_digest, stages)
    return [
        f"measured with other {name} ({said[:16]}) than this package's ({(own or _UNKNOWN)[:16]}); "
        f"run the gates of this version"
        for name, (said, own) in parts.items()
        if said != own
    ]


@functools.cache
def _own_stages() -> tuple[str, str]:
    """Preprocessing digest and digest of the package's own golden stages."""
    from ecdd.golden.golden_hashes import load_frozen

    return load_frozen(GOLDEN).preprocessing_digest, stages_digest(GOLDEN)


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
        stages_digest=stages_digest(options.golden),
        data_digest=file_digest(options.data),
        declared_digest=file_digest(declared_path(options.root)) or _UNKNOWN,
        gates_digest=gates_digest(),
        versions=library_versions(),
        as_of=options.as_of.isoformat(),
    )
