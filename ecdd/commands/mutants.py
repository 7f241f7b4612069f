"""``ecdd mutants``: proof that every gate can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ecdd.specification import ROOT


def mutants(
    gate: Annotated[str | None, typer.Option(help="Only this gate: G1 … G6, phase7, phase8.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes at once.")] = 2,
    out: Annotated[Path | None, typer.Option(help="JSON table; a report shows its folder's mutants.json.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle to plant the defects into; the default bundle.")] = None,
) -> None:
    """Plant every known defect, one at a time: each must turn its gate red, for the stated reason.

    Exit code 1 where a mutant survives or the same tests are red without one.
    """
    import pytest  # noqa: F401 - said here, before a process is started that needs it

    from ecdd.bundle import bundle_path

    bundle = bundle and bundle_path(bundle).absolute()
    command = [sys.executable, "-m", "gates.mutants.run", "--jobs", str(jobs)]
    for name, value in (("gate", gate), ("out", out and out.absolute()), ("bundle", bundle)):
        command += [f"--{name}", str(value)] if value is not None else []
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)
