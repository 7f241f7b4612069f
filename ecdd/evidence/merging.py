"""Fragments to records: done by the controlling process alone, in a fixed order."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ecdd.errors import EcddError
from ecdd.evidence.declarations import Declared
from ecdd.evidence.records import ExperimentRecord, Fragment, RunIdentity, TestCounts, record_text
from ecdd.evidence.verdicts import judge_experiment
from ecdd.files import write_bytes

FRAGMENTS = "fragments"
_Stored = TypeVar("_Stored", bound=BaseModel)
UNFINISHED = "collected, but it never finished"


class RecordError(EcddError):
    """A stored record is not one; names the file."""


def write_fragment(folder: Path, fragment: Fragment) -> None:
    """Store a test's fragment under a name that only its node id decides.

    Parameters
    ----------
    folder : Path
        Folder of this run's fragments.
    fragment : Fragment
        What the test contributes; a later one of the same test replaces it.
    """
    target = folder / f"test-{hashlib.sha256(fragment.nodeid.encode()).hexdigest()[:24]}.json"
    write_bytes(target, fragment.model_dump_json().encode())


def read_fragments(folder: Path) -> list[Fragment]:
    """All fragments of a run, by node id; `RecordError` names a file that is none."""
    found = [_read(path, Fragment) for path in folder.glob("test-*.json")]
    return sorted(found, key=lambda fragment: fragment.nodeid)


def remove_fragments(folder: Path) -> None:
    """Remove what a run left for merging, once it has been merged."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another run of the same bundle may be using it
        folder.parent.rmdir()
        folder.parents[1].rmdir()  # a start that failed leaves no empty folder of a run


@dataclass(frozen=True)
class Asked:
    """What a run was asked for, by experiment.

    Attributes
    ----------
    whole : frozenset of str
        Experiments that were asked for as a whole; one without any test in the run is then a failure.
    lost : mapping of str to sequence of str
        Tests that were collected and never finished.
    """

    whole: frozenset[str]
    lost: Mapping[str, Sequence[str]] = field(default_factory=dict)


def merge(
    fragments: Iterable[Fragment], declared: Mapping[str, Declared], identity: RunIdentity, asked: Asked
) -> dict[str, ExperimentRecord]:
    """Merge fragments into one record for each experiment that ran, or should have.

    Parameters
    ----------
    fragments : iterable of Fragment
        From all workers.
    declared : mapping of str to Declared
        The experiments.
    identity : RunIdentity
        What the numbers belong to.
    asked : Asked
        What the run was asked for.

    Returns
    -------
    dict of str to ExperimentRecord
        In order of the ids.
    """
    by_experiment: dict[str, list[Fragment]] = {key: [] for key in asked.whole if key in declared}
    for fragment in fragments:
        by_experiment.setdefault(fragment.experiment, []).append(fragment)
    for key in asked.lost:
        by_experiment.setdefault(key, [])
    records = {}
    for key in sorted(by_experiment, key=experiment_order):
        about = declared.get(key) or Declared(title="not declared", gate="none", clause=key, file="-", tests=["-"])
        records[key] = _record(key, about, by_experiment[key], identity, asked)
    return records


def experiment_order(key: str) -> tuple[int, ...]:
    """Sort key: E1.2 before E1.10."""
    return tuple(int(part) for part in key.lstrip("E").split(".") if part.isdigit())


def _record(
    key: str, about: Declared, fragments: list[Fragment], identity: RunIdentity, asked: Asked
) -> ExperimentRecord:
    collected = {fragment.test for fragment in fragments}
    by_outcome = {
        outcome: {f.test for f in fragments if f.outcome == outcome} for outcome in ("passed", "failed", "skipped")
    }
    tests = TestCounts(
        declared=len(about.file_of),
        collected=len(collected),
        passed=len(by_outcome["passed"] - by_outcome["failed"] - by_outcome["skipped"]),
        failed=len(by_outcome["failed"]),
        skipped=len(by_outcome["skipped"]),
        missing=tuple(sorted(set(about.file_of) - collected)),
        undeclared=tuple(sorted(collected - set(about.file_of))),
    )
    metrics = tuple(metric for fragment in fragments for metric in fragment.metrics)
    failures = tuple(f"{fragment.test}: {fragment.failure}" for fragment in fragments if fragment.failure)
    failures += tuple(f"{nodeid}: {UNFINISHED}" for nodeid in asked.lost.get(key, ()))
    not_tested = tuple(entry for fragment in fragments for entry in fragment.not_tested)
    ruled_out = tuple(entry for fragment in fragments for entry in fragment.not_applicable)
    complete = key in asked.whole or about.gate == "none"
    return ExperimentRecord(
        id=key,
        title=about.title,
        gate=about.gate,
        clause=about.clause,
        identity=identity,
        tests=tests,
        failures=failures,
        metrics=metrics,
        measurements=tuple(m for fragment in fragments for m in fragment.measurements),
        tables=tuple(table for fragment in fragments for table in fragment.tables),
        figures=tuple(figure for fragment in fragments for figure in fragment.figures),
        not_tested=not_tested,
        not_applicable=ruled_out,
        complete_selection=complete,
        verdict=judge_experiment(metrics, tests, failures, not_tested, ruled_out, complete_selection=complete),
    )


def record_path(folder: Path, key: str) -> Path:
    """Where an experiment's record lies: ``phaseN_results/EN.M.json``."""
    return folder / f"phase{experiment_order(key)[0]}_results" / f"{key}.json"


def write_records(folder: Path, records: Mapping[str, ExperimentRecord]) -> None:
    """Write records; an incomplete one never replaces a complete one.

    Parameters
    ----------
    folder : Path
        The run's folder.
    records : mapping of str to ExperimentRecord
        New records.
    """
    for key, record in records.items():
        path = record_path(folder, key)
        partial = path.with_name(f"{key}.incomplete.json")
        if record.verdict == "incomplete":
            write_bytes(partial, record_text(record).encode())
        else:
            write_bytes(path, record_text(record).encode())
            partial.unlink(missing_ok=True)


def read_records(folder: Path) -> dict[str, ExperimentRecord]:
    """The complete records of a run's folder, in order of their ids.

    Raises
    ------
    RecordError
        A file is no record.
    """
    found = [
        _read(path, ExperimentRecord)
        for path in sorted(folder.glob("phase*_results/E*.json"))
        if not path.name.endswith(".incomplete.json")
    ]
    return {record.id: record for record in sorted(found, key=lambda record: experiment_order(record.id))}


def _read(path: Path, kind: type[_Stored]) -> _Stored:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path}: not a record ({error.error_count()} wrong values); run the gates again"
        raise RecordError(msg) from error
