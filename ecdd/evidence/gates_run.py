"""One run of the clauses from any folder: everything about the call is checked before a file is written."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.errors import EcddError, how_to_install
from ecdd.evidence.declarations import Declared, load_expected, load_specification
from ecdd.evidence.session import SPECIFICATION_ARGUMENTS, RunOptions
from ecdd.specification import GATES, GOLDEN, ROOT

_FREEZE: Final = "--snapshot-update"
CLAIMS: Final = "claims"
# what freezes S0 to S4 of a golden set, and S5 to S8 of a bundle
_FREEZING: Final = {"g1": "g1/units/test_golden_stages.py", "g3": "g3/units/test_golden_outputs.py"}


class WrongCallError(EcddError):
    """The gates cannot be run so; says in one line what to do."""


@dataclass(frozen=True)
class GatesRequest:
    """What ``ecdd gates`` was asked for.

    Attributes
    ----------
    chosen : tuple of str
        Gates (``G1``, ``phase7``) and experiments (``E4.4``), in any case, or ``claims`` for what the contract claims;
        empty for all.
    bundle, contract, golden, data, out, expected : Path or None
        Replacements for the defaults, relative to the current folder.
    workers : str
        Number of processes, or ``auto``.
    pytest_arguments : tuple of str
        Passed on as they are.
    """

    chosen: tuple[str, ...]
    bundle: Path | None
    contract: Path | None
    golden: Path | None
    data: Path | None
    workers: str
    out: Path | None
    expected: Path | None
    pytest_arguments: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where records, report and JUnit go; absolute."""
        out = None if self.out is None else self.out.absolute()
        today = datetime.datetime.now(datetime.UTC).date()
        golden = self.golden or GOLDEN
        return RunOptions(Path.cwd(), self.bundle, self.contract, golden, self.data, out, None, today).folder


def run_gates(request: GatesRequest, lines: int | None = None) -> int:
    """Run the clauses in a process of pytest.

    Parameters
    ----------
    request : GatesRequest
        The call.
    lines : int, optional
        File descriptor that gets what pytest prints; standard output where not given.

    Returns
    -------
    int
        0 where nothing is red, 1 where something is, 2 where pytest refused its arguments or was interrupted.

    Raises
    ------
    WrongCallError
        The call cannot be carried out; nothing was written.
    """
    freezing = _FREEZE in request.pytest_arguments
    if freezing:
        files = _freezing(request)
    else:
        named = tuple(name for name in request.chosen if name.lower() != CLAIMS)
        files = _files(named + (_claimed(request) if len(named) < len(request.chosen) else ()))
    _check(request)
    command = [sys.executable, "-P", "-m", "pytest", *SPECIFICATION_ARGUMENTS, *map(str, files)]
    command += ["-p", "xdist.plugin", "-p", "syrupy", "-n", request.workers, "--dist", "worksteal"]
    command += ["--report-dir", str(request.folder)]
    for name in ("bundle", "contract", "golden", "data", "expected"):
        path: Path | None = getattr(request, name)
        command += [f"--{name}", str(path.absolute())] if path is not None else []
    with _alone_in(request.folder):
        whole = [*command, *request.pytest_arguments]
        code = subprocess.run(whole, env=_environment(), check=False, stdout=lines).returncode
    return code if code in {0, 1} else 2


def _environment() -> dict[str, str]:
    """The environment without what pytest would load or do on its own: only what the command names takes part."""
    left_out = {"PYTEST_ADDOPTS", "PYTEST_PLUGINS"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _claimed(request: GatesRequest) -> tuple[str, ...]:
    """Experiments of the specification that the contract claims."""
    from ecdd.bundle.loading import load_bundle
    from ecdd.contract.loading import load_contract

    try:
        contract = load_bundle(request.bundle).contract if request.contract is None else load_contract(request.contract)
    except (EcddError, OSError) as error:
        raise WrongCallError(str(error).splitlines()[0]) from None
    claims, declared = contract.policy.release.claims, load_specification()
    if not (found := tuple(claim for claim in claims if claim in declared)):
        raise WrongCallError(f"{CLAIMS}: release.claims of the contract names no experiment of the specification")
    return found


def _files(chosen: tuple[str, ...]) -> list[Path]:
    """Clause files of gates and experiments, in the order of the declarations."""
    declared = load_specification()
    known: dict[str, list[Declared]] = {}
    for key, about in declared.items():
        known.setdefault(about.gate.lower(), []).append(about)
        known.setdefault(key.lower(), []).append(about)
    if unknown := [name for name in chosen if name.lower() not in known]:
        names = ", ".join(dict.fromkeys(about.gate for about in declared.values()))
        msg = (
            f"{unknown[0]}: no such gate or experiment; there are {names}, experiments from {min(declared)} on, and "
            f"{CLAIMS}"
        )
        raise WrongCallError(msg)
    wanted = [about for name in chosen or declared for about in known[name.lower()]]
    return list(dict.fromkeys(ROOT / file for about in wanted for file in about.files))


def _freezing(request: GatesRequest) -> list[Path]:
    """Files that freeze again what one gate compares with; never what came with the installation."""
    gate = request.chosen[0].lower() if len(request.chosen) == 1 else ""
    own = {"g1": request.golden, "g3": request.bundle}.get(gate)
    if own is None:
        msg = f"{_FREEZE} needs G1 --golden FOLDER (stages S0 to S4), or G3 --bundle FOLDER (golden outputs S5 to S8)"
        raise WrongCallError(msg)
    return [GATES / _FREEZING[gate]]


def _check(request: GatesRequest) -> None:
    """Refuse what the clauses would stumble over one by one."""
    from ecdd.bundle.loading import load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.golden.golden_hashes import load_frozen
    from ecdd.golden.golden_sets import load_checked

    for library in ("pytest", "xdist", "scipy", "onnxruntime"):
        if importlib.util.find_spec(library) is None:
            raise WrongCallError(f"the gates need {library}, which is not installed; {how_to_install('gates')}")
    if request.workers != "auto" and not request.workers.isdigit():
        raise WrongCallError(f"--jobs {request.workers}: give a number of processes, or auto")
    if request.data is not None and not request.data.exists():
        raise WrongCallError(f"--data {request.data}: no such file or folder")
    try:
        bundle = load_bundle(request.bundle)
        contract = bundle.contract if request.contract is None else load_contract(request.contract)
        if request.expected is not None:
            load_expected(request.expected, load_specification())
        golden = load_checked(request.golden or GOLDEN)
        frozen = load_frozen(golden.root)
    except (EcddError, OSError, ValueError, KeyError) as error:
        raise WrongCallError("; ".join(line.strip() for line in str(error).splitlines()[:3])) from None
    if frozen.preprocessing_digest != contract.preprocessing_digest and _FREEZE not in request.pytest_arguments:
        was, now = frozen.preprocessing_digest[:16], contract.preprocessing_digest[:16]
        msg = (
            f"{golden.root}: golden set of another contract: frozen with preprocessing digest {was or 'none'}, this "
            f"contract has {now}; freeze a copy with this contract: ecdd gates G1 --bundle {bundle.path} --golden COPY "
            f"{'' if request.contract is None else f'--contract {request.contract} '}-- {_FREEZE}"
        )
        raise WrongCallError(msg)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for one run; leaves no folder behind where it could not begin or wrote nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise WrongCallError(f"{folder}: {error.strerror}; name a folder that can be written with --out") from None
    try:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise WrongCallError(f"{folder}: may not be written; name another folder with --out")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
        with contextlib.suppress(OSError):
            folder.rmdir()
    except BlockingIOError:
        raise WrongCallError(f"{folder}: another run is writing there; wait for it, or name another --out") from None
    finally:
        os.close(held)
