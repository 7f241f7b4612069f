"""All mutants and their controls in one table: ``python -m gates.mutants.run``, which ``ecdd mutants`` calls."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ecdd.evidence.mutation_table import MutantRow, MutationTable, write_mutants
from ecdd.evidence.session import RunOptions, identify
from ecdd.files import check_output
from gates.mutants.catalogue import MUTANTS
from gates.mutants.forked import ROOT
from gates.mutants.killing import Outcome, control, control_files, kill


def run(gate: str | None, jobs: int, options: list[str], console: Console) -> list[Outcome]:
    """Run every mutant of a gate, or of all, and the controls; in order of gate and name."""
    names = [name for name, mutant in MUTANTS.items() if gate in (None, mutant.gate)]
    files = control_files(gate)
    with (
        tempfile.TemporaryDirectory(prefix="ecdd-mutants-") as folder,
        ThreadPoolExecutor(jobs) as pool,
        Progress(console=console) as progress,
    ):
        task = progress.add_task("mutants", total=len(names) + len(files))
        shared = Path(folder)
        asked = [pool.submit(kill, name, shared / "mutants" / name, options, shared=shared) for name in names]
        asked += [pool.submit(control, file, shared / "controls" / str(i), options) for i, file in enumerate(files)]
        done = []
        for future in as_completed(asked):
            done.append(future.result())
            progress.advance(task)
    return sorted(done, key=lambda one: (one.metric == "control", one.gate, one.name))


def draw(outcomes: Iterable[Outcome]) -> Table:
    """One row a mutant: what went red, and why."""
    table = Table("mutant", "gate", "experiment", "verdict", "reason", "s")
    for one in outcomes:
        good = {True: "killed", False: "SURVIVED"} if one.metric != "control" else {True: "green", False: "RED"}
        style = None if one.killed else "red"
        cells = (one.name, one.gate, one.experiment, good[one.killed], one.reason, f"{one.seconds:.1f}")
        table.add_row(*cells, style=style)
    return table


def _table(given: argparse.Namespace, outcomes: Iterable[Outcome], seconds: float) -> MutationTable:
    today = datetime.datetime.now(datetime.UTC).date()
    golden = given.golden or ROOT / "golden"
    judged = identify(RunOptions(ROOT, given.bundle, None, golden, None, None, None, today))
    rows = [MutantRow.model_validate(one.row()) for one in outcomes]
    return MutationTable(
        payload_digest=judged.payload_digest,
        contract_digest=judged.contract_digest,
        gate=given.gate,
        seconds=round(seconds, 1),
        mutants=tuple(row for row in rows if row.metric != "control"),
        controls=tuple(row for row in rows if row.metric == "control"),
    )


def main() -> int:
    """Command line; exit code 1 where a mutant survived or a control is red."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gate", choices=sorted({mutant.gate for mutant in MUTANTS.values()}))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--golden", type=Path)
    given = parser.parse_args()
    if given.out is not None:
        check_output(given.out, [path for path in (given.bundle, given.golden) if path is not None])
    options = [f"--{name}={path.resolve()}" for name in ("bundle", "golden") if (path := getattr(given, name))]
    console, begun = Console(), time.monotonic()
    outcomes = run(given.gate, max(1, given.jobs), options, console)
    console.print(draw(outcomes))
    mutants = [one for one in outcomes if one.metric != "control"]
    controls = [one for one in outcomes if one.metric == "control"]
    killed, green = sum(one.killed for one in mutants), sum(one.killed for one in controls)
    seconds = time.monotonic() - begun
    console.print(
        f"{killed} of {len(mutants)} mutants killed, {green} of {len(controls)} controls green, {seconds:.0f} s"
    )
    if given.out is not None:
        write_mutants(given.out, _table(given, outcomes, seconds))
    return int(killed < len(mutants) or green < len(controls) or not mutants)


if __name__ == "__main__":
    sys.exit(main())
