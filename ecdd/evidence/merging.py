"""Fragments to records: done by the controlling process alone, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ecdd.evidence.declarations import Declared
from ecdd.evidence.records import ExperimentRecord, Fragment, RunIdentity, TestCounts, record_digest, record_text
from ecdd.evidence.verdicts import judge_experiment

FRAGMENTS = "fragments"


def write_fragment(folder: Path, fragment: Fragment) -> None:
    """Store a test's fragment under a name that only its node id decides."""
    target = folder / FRAGMENTS / f"{hashlib.sha256(fragment.nodeid.encode()).hexdigest()[:24]}.json"
    write_atomically(target, fragment.model_dump_json().encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target and rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def read_fragments(folder: Path) -> list[Fragment]:
    """All fragments of a run, by node id."""
    found = [Fragment.model_validate_json(path.read_bytes()) for path in (folder / FRAGMENTS).glob("*.json")]
    return sorted(found, key=lambda fragment: fragment.nodeid)


def clear_run(folder: Path) -> None:
    """Remove what an earlier run left for merging; finished records stay until they are replaced."""
    for path in (folder / FRAGMENTS).glob("*.json"):
        path.unlink(missing_ok=True)


def merge(
    fragments: Iterable[Fragment],
    declared: Mapping[str, Declared],
    identity: RunIdentity,
    *,
    complete_selection: bool,
) -> dict[str, ExperimentRecord]:
    """Merge fragments into one record for each experiment that ran.

    Parameters
    ----------
    fragments : iterable of Fragment
        From all workers.
    declared : mapping of str to Declared
        The experiments.
    identity : RunIdentity
        What the numbers belong to.
    complete_selection : bool
        Whether whole files were asked for.

    Returns
    -------
    dict of str to ExperimentRecord
        Only experiments with at least one fragment.
    """
    by_experiment: dict[str, list[Fragment]] = {}
    for fragment in fragments:
        by_experiment.setdefault(fragment.experiment, []).append(fragment)
    records = {}
    for key in sorted(by_experiment, key=experiment_order):
        about = declared.get(key) or Declared(title="not declared", gate="none", clause=key, file="-", tests=["-"])
        records[key] = _record(key, about, by_experiment[key], identity, complete_selection=complete_selection)
    return records


def experiment_order(key: str) -> tuple[int, ...]:
    """Sort key: E1.2 before E1.10."""
    return tuple(int(part) for part in key.lstrip("E").split(".") if part.isdigit())


def _record(
    key: str, about: Declared, fragments: list[Fragment], identity: RunIdentity, *, complete_selection: bool
) -> ExperimentRecord:
    collected = {fragment.test for fragment in fragments}
    by_outcome = {
        outcome: {f.test for f in fragments if f.outcome == outcome} for outcome in ("passed", "failed", "skipped")
    }
    tests = TestCounts(
        declared=len(about.tests),
        collected=len(collected),
        passed=len(by_outcome["passed"] - by_outcome["failed"] - by_outcome["skipped"]),
        failed=len(by_outcome["failed"]),
        skipped=len(by_outcome["skipped"]),
        missing=tuple(sorted(set(about.tests) - collected)),
        undeclared=tuple(sorted(collected - set(about.tests))),
    )
    metrics = tuple(metric for fragment in fragments for metric in fragment.metrics)
    failures = tuple(f"{fragment.test}: {fragment.failure}" for fragment in fragments if fragment.failure)
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
        not_tested=tuple(entry for fragment in fragments for entry in fragment.not_tested),
        complete_selection=complete_selection,
        verdict=judge_experiment(metrics, tests, failures, complete_selection=complete_selection),
    )


def record_path(folder: Path, key: str) -> Path:
    """Where an experiment's record lies: ``phaseN_results/EN.M.json``."""
    return folder / f"phase{experiment_order(key)[0]}_results" / f"{key}.json"


def write_records(folder: Path, records: Mapping[str, ExperimentRecord]) -> None:
    """Write records and their index; an incomplete one never replaces a complete one.

    Parameters
    ----------
    folder : Path
        The run's folder.
    records : mapping of str to ExperimentRecord
        New records.
    """
    for key, record in records.items():
        path = record_path(folder, key)
        if record.verdict == "incomplete":
            path = path.with_name(f"{key}.incomplete.json")
        write_atomically(path, record_text(record).encode())
    write_atomically(folder / "index.json", _index_text(folder).encode())


def read_records(folder: Path) -> dict[str, ExperimentRecord]:
    """The complete records of a run's folder, in order of their ids."""
    found = [
        ExperimentRecord.model_validate_json(path.read_bytes())
        for path in folder.glob("phase*_results/E*.json")
        if not path.name.endswith(".incomplete.json")
    ]
    return {record.id: record for record in sorted(found, key=lambda record: experiment_order(record.id))}


def _index_text(folder: Path) -> str:
    """Digest of every record, each chained to the one before: a record cannot be exchanged alone."""
    chain = ""
    rows = []
    for key, record in read_records(folder).items():
        digest = record_digest(record)
        chain = hashlib.sha256(f"{chain}{digest}".encode()).hexdigest()
        rows.append({"id": key, "verdict": record.verdict, "sha256": digest, "chain": chain})
    return json.dumps({"schema_version": 1, "records": rows}, indent=2) + "\n"
