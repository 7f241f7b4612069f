"""``ecdd mutants``: proof that every gate can fail."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.terminal import AsJson, lines_descriptor, write_json
from ecdd.files import check_output, read_json
from ecdd.specification import ROOT


def mutants(
    gate: Annotated[str | None, typer.Option(help="Only this gate: G1 … G6, phase7, phase8.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes at once.")] = 2,
    out: Annotated[Path | None, typer.Option(help="JSON table; a report shows its folder's mutants.json.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle to plant the defects into; the default bundle.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Plant every known defect, one at a time: each must turn its gate red, for the stated reason.

    Exit code 1 where a mutant survives or the same tests are red without one.
    """
    import pytest  # noqa: F401 - said here, before a process is started that needs it

    from ecdd.bundle import bundle_path

    bundle = bundle and bundle_path(bundle).absolute()
    if out is not None:
        check_output(out, [] if bundle is None else [bundle])
    with tempfile.TemporaryDirectory() as folder:
        # a program reads the table, from a file of its own where nobody asked for one
        table = out.absolute() if out is not None else Path(folder) / "mutants.json" if as_json else None
        command = [sys.executable, "-m", "gates.mutants.run", "--jobs", str(jobs)]
        for name, value in (("gate", gate), ("out", table), ("bundle", bundle)):
            command += [f"--{name}", str(value)] if value is not None else []
        code = subprocess.run(command, cwd=ROOT, check=False, stdout=lines_descriptor()).returncode
        if as_json and table is not None and code in {0, 1}:
            write_json(read_json(table))
    raise typer.Exit(code)
