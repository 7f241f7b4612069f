"""The tests behind a folder's records as a hash-chained JSONL file, and the check that nobody edited what was written.

JUnit cannot tell an expected failure from a pass under every tool, and loses properties; this file can be held against
it, and every record against this file. Each line carries the digest of the line before, so none can be changed, removed
or exchanged alone. Tests of experiments that a later run did not measure keep their lines, as their records stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from ecdd.evidence.merging import RecordError, read_records
from ecdd.evidence.records import ExperimentRecord, Fragment, record_digest
from ecdd.evidence.verdicts import judge_record
from ecdd.files import write_bytes

EVIDENCE_FILE: Final = "evidence.jsonl"


@dataclass(frozen=True)
class Line:
    """One test: the run that it ran in, and whether that run asked for the whole of its experiment."""

    run: str
    complete: bool
    test: Fragment


def write_chain(folder: Path, fragments: Iterable[Fragment], run: str, complete: Collection[str]) -> None:
    """Write ``evidence.jsonl``: the tests of this run behind those of earlier ones whose records still stand.

    Parameters
    ----------
    folder : Path
        The run's folder.
    fragments : iterable of Fragment
        What the tests of this run measured, in order of the node ids.
    run : str
        Its id.
    complete : collection of str
        Experiments whose record this run replaced.
    """
    before, problems = _read_chain(folder / EVIDENCE_FILE)
    kept = [] if problems else [line for line in before if line.complete and line.test.experiment not in complete]
    new = [Line(run, fragment.experiment in complete, fragment) for fragment in fragments]
    previous, lines = "", []
    for line in [*kept, *new]:
        about = {"run": line.run, "complete": line.complete, "test": line.test.model_dump(mode="json")}
        content = {"previous": previous, **about}
        previous = _digest(content)
        lines.append(json.dumps({**content, "sha256": previous}, sort_keys=True, ensure_ascii=False))
    write_bytes(folder / EVIDENCE_FILE, "".join(f"{line}\n" for line in lines).encode())


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def find_edits(folder: Path, junit: Path | None = None) -> list[str]:
    """Everything in a run's folder that is not as the run wrote it.

    Parameters
    ----------
    folder : Path
        With ``index.json``, records and ``evidence.jsonl``.
    junit : Path, optional
        JUnit file of the same run; by default ``junit.xml`` in the folder, where there is one.

    Returns
    -------
    list of str
        Empty where all agree; otherwise file, place and what is wrong.
    """
    path = junit or folder / "junit.xml"
    lines, problems = _read_chain(folder / EVIDENCE_FILE)
    problems += _edited_records(folder, [] if problems else lines)
    last = {line.test.nodeid: line.test.outcome for line in lines if line.run == lines[-1].run}
    return problems + (_edited_junit(path, last) if path.is_file() else [])


def _read_chain(path: Path) -> tuple[list[Line], list[str]]:
    if not path.is_file():
        return [], [f"{path.name}: missing; run the gates again"]
    previous = ""
    lines: list[Line] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            content = json.loads(line)
            digest = content.pop("sha256")
            found = Line(str(content["run"]), bool(content["complete"]), Fragment.model_validate(content["test"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return lines, [f"{path.name} line {number}: not a record of a test"]
        if content["previous"] != previous or _digest(content) != digest:
            return lines, [f"{path.name} line {number}: edited, removed or exchanged"]
        previous = digest
        lines.append(found)
    return lines, [] if lines else [f"{path.name}: holds no test"]


def _edited_records(folder: Path, lines: Sequence[Line]) -> list[str]:
    """Records against the index, against their own metrics, and against the tests that they were merged from."""
    try:
        listed = {row["id"]: row for row in json.loads((folder / "index.json").read_text(encoding="utf-8"))["records"]}
        records = read_records(folder)
    except (RecordError, OSError, ValueError, KeyError, TypeError) as error:
        return [f"index.json or a record: unreadable ({type(error).__name__})"]
    found = [f"{key}: in index.json, but its record is gone" for key in listed if key not in records]
    chain = ""
    for key, record in records.items():
        digest = record_digest(record)
        chain = hashlib.sha256(f"{chain}{digest}".encode()).hexdigest()
        row = listed.get(key)
        if row is None or row["sha256"] != digest:
            found.append(f"{key}: the record is not the one in index.json")
        elif row["chain"] != chain:
            found.append(f"{key}: the chain of index.json is broken here")
        if judge_record(record) != record.verdict:
            found.append(f"{key}: its verdict {record.verdict} does not follow from its own metrics")
        if lines and not _follows(
            record, [line.test for line in lines if line.complete and line.test.experiment == key]
        ):
            found.append(f"{key}: the record is not what its tests in {EVIDENCE_FILE} measured")
    return found


def _follows(record: ExperimentRecord, tests: Sequence[Fragment]) -> bool:
    """Whether a record holds what its tests measured, no less and no more."""
    passed = {test.test for test in tests} - {test.test for test in tests if test.outcome != "passed"}
    counts = record.tests
    return (
        record.metrics == tuple(metric for test in tests for metric in test.metrics)
        and record.not_tested == tuple(entry for test in tests for entry in test.not_tested)
        and record.not_applicable == tuple(entry for test in tests for entry in test.not_applicable)
        and (counts.collected, counts.passed) == (len({test.test for test in tests}), len(passed))
    )


def _edited_junit(path: Path, tests: Mapping[str, str]) -> list[str]:
    try:
        cases = list(ET.parse(path).getroot().iter("testcase"))  # noqa: S314
    except ET.ParseError as error:
        return [f"{path.name}: not XML: {error}"]
    said = {(case.get("classname", ""), case.get("name", "")): _junit_outcome(case) for case in cases}
    found = []
    for nodeid, outcome in tests.items():
        file, _, name = nodeid.partition("::")
        there = said.get((file.removesuffix(".py").replace("/", "."), name))
        if there is None:
            found.append(f"{path.name}: {nodeid} ran and is not in it")
        elif (there == "passed") != (outcome == "passed"):
            found.append(f"{path.name}: {nodeid} is {there} there and {outcome} in {EVIDENCE_FILE}")
    return found


def _junit_outcome(case: ET.Element) -> str:
    return next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")
