"""Whether a planted defect was seen, and seen for the stated reason."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ecdd.bundle import bundle_path
from gates.mutants.catalogue import MUTANTS
from gates.mutants.stored_results import FOLDER
from gates.mutants.warm_processes import run_pytest


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant, or of a control run.

    Attributes
    ----------
    name : str
        Mutant, or the file of a control run.
    gate, experiment, metric : str
        What had to go red.
    killed : bool
        Red in that metric; for a control: green.
    reason : str
        The metric with value and limit, or what went wrong.
    record : str
        Evidence record of the run.
    seconds : float
        Wall clock.
    """

    name: str
    gate: str
    experiment: str
    metric: str
    killed: bool
    reason: str
    record: str
    seconds: float

    def row(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def kill(name: str, folder: Path, options: Sequence[str] = (), *, shared: Path | None = None) -> Outcome:
    """Plant one mutant and run the tests that must see it.

    Parameters
    ----------
    name : str
        In the catalogue.
    folder : Path
        For the run's records.
    options : sequence of str
        For pytest: ``--bundle`` and ``--golden``.
    shared : Path, optional
        Folder of the session, in which runs store what no defect of theirs touches.

    Returns
    -------
    Outcome
        Killed only when the stated metric failed in the stated experiment's record and pytest ended with 1; for a
        metric ``tests.COUNT``, when that count shows what is missing and the experiment failed.
    """
    mutant, begun = MUTANTS[name], time.monotonic()
    environment = {FOLDER: str(shared)} if shared is not None else {}
    on = _on(mutant.bundle, options)
    finished = run_pytest([mutant.tests], folder, mutant=name, options=on, environment=environment)
    whole = "" if "::" not in mutant.tests else ".incomplete"
    path = folder / f"phase{mutant.experiment[1]}_results" / f"{mutant.experiment}{whole}.json"
    killed, reason = _judged(path, mutant.metric, finished.exit_code)
    if not killed:
        reason += f"\n{finished.output[-3000:]}"
    where = (mutant.gate, mutant.experiment, mutant.metric)
    return Outcome(name, *where, killed, reason, path.name, round(time.monotonic() - begun, 2))


def _judged(path: Path, metric: str, exit_code: int) -> tuple[bool, str]:
    if not path.is_file():
        return False, f"no record was written; exit code {exit_code}"
    record = json.loads(path.read_text(encoding="utf-8"))
    if metric.startswith("tests."):
        return _miscounted(record, metric.partition(".")[2], exit_code)
    failing = [entry for entry in record["metrics"] if entry["verdict"] == "fail"]
    found = next((entry for entry in failing if entry["name"] == metric), None)
    if exit_code != 1 or found is None:
        return False, f"survived: exit code {exit_code}, red: {[entry['name'] for entry in failing]}"
    return True, f"{metric} = {found['value']}, must be {found['op']} {found['limit']}"


def _miscounted(record: dict[str, Any], count: str, exit_code: int) -> tuple[bool, str]:
    """Whether tests that vanished or were excused show: the experiment fails, and says how many of which."""
    found = record["tests"][count]
    number = found if isinstance(found, int) else len(found)
    said = f"{number} of {record['tests']['declared']} declared tests {count}, verdict {record['verdict']}"
    return exit_code == 1 and record["verdict"] == "fail" and number > 0, said


def _on(bundle: str | None, options: Sequence[str]) -> list[str]:
    """Options of a run on the bundle that a mutant names, or on the one that is judged."""
    return [*options] if bundle is None else [*options, f"--bundle={bundle_path(bundle)}"]


def control(file: str, folder: Path, options: Sequence[str] = ()) -> Outcome:
    """Run the same tests of one file without any mutant, each on its mutant's bundle and pictures.

    A metric that is always red kills everything: none that a mutant must turn red may be red without it. Another one
    may, where the bundle that is judged is expected to be red.
    """
    begun = time.monotonic()
    mine = [mutant for mutant in MUTANTS.values() if mutant.tests.partition("::")[0] == file]
    count, red = 0, ""
    for bundle, pictures in sorted({(mutant.bundle, mutant.pictures) for mutant in mine}, key=str):
        here = [mutant for mutant in mine if (mutant.bundle, mutant.pictures) == (bundle, pictures)]
        tests, place = sorted({mutant.tests for mutant in here}), folder / f"{bundle}-{pictures}"
        fewer = [] if pictures is None else ["-p", "gates.mutants.planting", f"--pictures={pictures}"]
        finished = run_pytest(tests, place, options=[*_on(bundle, options), *fewer])
        count += len(tests)
        if finished.exit_code != 0 and not _red_elsewhere(place, {mutant.metric for mutant in here}):
            red += f"exit code {finished.exit_code}\n{finished.output[-3000:]}"
    reason, where = red or f"{count} tests green", (mine[0].gate, mine[0].experiment)
    return Outcome(file, *where, "control", not red, reason, "", round(time.monotonic() - begun, 2))


def _red_elsewhere(folder: Path, metrics: Collection[str]) -> bool:
    """Whether tests failed by metrics alone, and by none of these."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("phase*_results/*.json")]
    failing = {entry["name"] for record in records for entry in record["metrics"] if entry["verdict"] == "fail"}
    return bool(failing) and not failing & set(metrics) and not any(record["failures"] for record in records)


def control_files(gate: str | None = None) -> list[str]:
    """Files of the tests that mutants need, each once."""
    return sorted({m.tests.partition("::")[0] for m in MUTANTS.values() if gate in (None, m.gate)})


def controls_needed(collected: Iterable[str], may_be_red: Collection[str]) -> set[str]:
    """Files whose control a session still has to run.

    Parameters
    ----------
    collected : iterable of str
        Node ids of the session.
    may_be_red : collection of str
        Experiments that the session expects red: their tests may fail there, so they are no control.

    Returns
    -------
    set of str
        Files of which a mutant needs tests that the session does not run, or that may be red in it.
    """
    own: set[str] = set()
    for nodeid in collected:
        own |= {nodeid, nodeid.partition("[")[0], nodeid.partition("::")[0]}
    lacking = (m for m in MUTANTS.values() if m.experiment in may_be_red or m.tests not in own)
    return {mutant.tests.partition("::")[0] for mutant in lacking}
