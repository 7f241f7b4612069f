"""Processes of their own that begin with the libraries loaded: runs of pytest, and of the program.

A planted defect must not outlive its run, so each run has its own process, and so has a run of the gates on a bundle
that a test makes; to import numpy, pytest, LiteRT and the others anew in each would take most of the time. The
processes fork from a server that has imported them and nothing of this project. What a test says about a process
itself (what it imports, its memory, its time, signals) needs a new interpreter instead.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecdd.evidence.session import SPECIFICATION_ARGUMENTS
from gates.mutants.forked import command, run

TIMEOUT = 300.0  # seconds; the longest run takes below 30 on two shared cores
_PLUGINS = ("syrupy", "_hypothesis_pytestplugin", "pytest_benchmark.plugin")


@dataclass(frozen=True)
class Finished:
    """One run of pytest: exit code and all that it wrote."""

    exit_code: int
    output: str


def run_pytest(
    tests: Sequence[str],
    folder: Path,
    *,
    mutant: str | None = None,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    first: Sequence[str] = (),
    timeout: float = TIMEOUT,
) -> Finished:
    """Run tests in a process of their own, with a defect planted where one is named.

    Parameters
    ----------
    tests : sequence of str
        Node ids, relative to the project.
    folder : Path
        Where the records of this run go.
    mutant : str, optional
        Name in the catalogue.
    options : sequence of str
        For pytest.
    environment : mapping of str to str, optional
        Variables to add.
    first : sequence of str
        Plugins that begin before anything of the project is imported.
    timeout : float
        Seconds.

    Returns
    -------
    Finished
        Exit code -9 after `timeout` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*tests, *SPECIFICATION_ARGUMENTS, "--report-dir", str(folder), "-q", *options]
    if mutant is not None:
        arguments += ["-p", "gates.mutants.planting", "--mutant", mutant, "--no-summary"]
    for plugin in _PLUGINS:
        arguments += ["-p", plugin]
    arguments = [*(part for plugin in first for part in ("-p", plugin)), *arguments]
    output = folder / "output.txt"
    code = _ended(run, (arguments, str(output), {**os.environ, **(environment or {})}), timeout)
    text = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
    return Finished(code, text)


def run_command(*arguments: object, timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, in the project's folder, with the variables that are set now.

    Parameters
    ----------
    *arguments : object
        Of `ecdd`; paths become text.
    timeout : float
        Seconds.

    Returns
    -------
    CompletedProcess
        Exit code, standard output and standard error; exit code -9 after `timeout` seconds.
    """
    typed = [str(one) for one in arguments]
    with tempfile.TemporaryDirectory(prefix="ecdd-command-") as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        code = _ended(command, (typed, *map(str, streams), dict(os.environ)), timeout)
        out, err = (path.read_text(encoding="utf-8") if path.is_file() else "" for path in streams)
    return subprocess.CompletedProcess(["ecdd", *typed], code, out, err)


def _ended(target: Callable[..., None], given: tuple[Any, ...], timeout: float) -> int:
    """Exit code of a forked process that does this."""
    process = _server().Process(target=target, args=given)
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode if process.exitcode is not None else -9


def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gates.mutants.preloaded"])
    return context
