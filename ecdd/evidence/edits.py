"""Whether a folder of evidence is as its runs wrote it: head, records, chain, figures and JUnit against each other.

JUnit cannot tell an expected failure from a pass under every tool, and loses properties, so it is held against the
chain. Whoever can compute digests can make all of this anew; only the signature of who ran the gates
(`ecdd.evidence.attestation`) is beyond an applicant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from ecdd.evidence.chain import EVIDENCE_FILE, Chain, read_chain
from ecdd.evidence.head import HEAD_FILE, PASSED, Head, read_head, runs_by_id
from ecdd.evidence.merging import UNFINISHED, RecordError, read_records
from ecdd.evidence.records import ExperimentRecord, Figure, Fragment, RunIdentity, record_digest
from ecdd.evidence.verdicts import judge_record


@dataclass(frozen=True)
class Examined:
    """A folder of evidence, every file of it read once: what was checked is what is used.

    Attributes
    ----------
    head, head_digest : Head or None, str
        And the SHA-256 of its bytes; none where it cannot be read.
    records : mapping of str to ExperimentRecord
        Complete ones, by id.
    chain : Chain
        Its tests.
    edits : tuple of str
        Everything that is not as the runs wrote it: file, place and what is wrong.
    """

    head: Head | None
    head_digest: str
    records: Mapping[str, ExperimentRecord]
    chain: Chain
    edits: tuple[str, ...]


def find_edits(folder: Path, junit: Path | None = None) -> list[str]:
    """Everything in a run's folder that is not as the run wrote it; see `examine`."""
    return list(examine(folder, junit).edits)


def examine(folder: Path, junit: Path | None = None) -> Examined:
    """Read a folder of evidence and hold its files against each other.

    Parameters
    ----------
    folder : Path
        With ``index.json``, records and ``evidence.jsonl``.
    junit : Path, optional
        JUnit file of the same run; by default ``junit.xml`` in the folder, where there is one.

    Returns
    -------
    Examined
        Without edits where all agree.
    """
    chain = read_chain(folder)
    try:
        (head, digest), records = read_head(folder), read_records(folder)
    except RecordError as error:
        return Examined(None, "", {}, chain, (*chain.problems, str(error)))
    except OSError as error:
        return Examined(None, "", {}, chain, (*chain.problems, f"{HEAD_FILE} or a record: {error.strerror}"))
    found = [*chain.problems, *_edited_records(folder, head, records)]
    if not chain.problems:
        found += _edited_tests(head, chain) + _unsupported(records, chain) + _relabelled(head, records, chain)
    path = junit or folder / "junit.xml"
    if path.is_file():
        last = [line.test for line in chain.lines if line.run == head.runs[-1].run]
        found += _edited_junit(path, {test.nodeid: test.outcome for test in last})
    return Examined(head, digest, records, chain, tuple(found))


def _edited_records(folder: Path, head: Head, records: Mapping[str, ExperimentRecord]) -> list[str]:
    """Records and their figures against the head, and against their own metrics."""
    listed = {entry.id: entry for entry in head.records}
    found = [f"{key}: in {HEAD_FILE}, but its record is gone" for key in listed if key not in records]
    for key, record in records.items():
        entry = listed.get(key)
        if entry is None or entry.sha256 != record_digest(record):
            found.append(f"{key}: the record is not the one in {HEAD_FILE}")
        if judge_record(record) != record.verdict:
            found.append(f"{key}: its verdict {record.verdict} does not follow from its own metrics")
        found += [f"{key}: {why}" for figure in record.figures if (why := edited_figure(folder, figure))]
    return found


def edited_figure(folder: Path, figure: Figure) -> str:
    """Why a figure beside a record is not the one that the run drew; empty where it is."""
    path = folder / figure.file
    if not path.is_file():
        return f"{figure.file}: the file is gone"
    same = hashlib.sha256(path.read_bytes()).hexdigest() == figure.sha256
    return "" if same else f"{figure.file}: the file is not the one that the run drew"


def _edited_tests(head: Head, chain: Chain) -> list[str]:
    """The chain against the head: its last digest, and the outcome of each test."""
    found = [] if chain.digest == head.chain else [f"{EVIDENCE_FILE}: ends with another line than {HEAD_FILE} says"]
    runs = runs_by_id(head)
    for line in chain.lines:
        said = runs[line.run].tests.get(line.test.nodeid) if line.run in runs else None
        if said is None or (said == PASSED) > (line.test.outcome == PASSED):
            found.append(
                f"{line.test.nodeid}: {line.test.outcome} in {EVIDENCE_FILE} and {said or 'unknown'} in {HEAD_FILE}"
            )
    return found


def _unsupported(records: Mapping[str, ExperimentRecord], chain: Chain) -> list[str]:
    """Records against the tests that they were merged from, both ways."""
    behind: dict[str, list[Fragment]] = {}
    for line in chain.lines:
        if line.complete:
            behind.setdefault(line.test.experiment, []).append(line.test)
    found = [f"{key}: its tests are in {EVIDENCE_FILE}, but it has no record" for key in behind if key not in records]
    for key, record in records.items():
        tests = behind.get(key, [])
        if not tests and record.tests.collected:
            found.append(f"{key}: a record without a test in {EVIDENCE_FILE}")
        elif not _follows(record, tests):
            found.append(f"{key}: the record is not what its tests in {EVIDENCE_FILE} measured")
    return found


def _follows(record: ExperimentRecord, tests: Sequence[Fragment]) -> bool:
    """Whether a record holds what its tests said, no less and no more."""
    collected = {test.test for test in tests}
    failed, skipped = ({t.test for t in tests if t.outcome == outcome} for outcome in ("failed", "skipped"))
    counts = record.tests
    failures = tuple(f"{test.test}: {test.failure}" for test in tests if test.failure)
    return (
        all(
            getattr(record, part) == tuple(entry for test in tests for entry in getattr(test, part))
            for part in ("metrics", "measurements", "tables", "figures", "not_tested", "not_applicable")
        )
        and (counts.collected, counts.passed) == (len(collected), len(collected - failed - skipped))
        and (counts.failed, counts.skipped) == (len(failed), len(skipped))
        and record.failures[: len(failures)] == failures
        and all(failure.endswith(UNFINISHED) for failure in record.failures[len(failures) :])
    )


def _relabelled(head: Head, records: Mapping[str, ExperimentRecord], chain: Chain) -> list[str]:
    """Records whose identity is not that of the run that their tests ran in."""
    runs, found = runs_by_id(head), []
    for key, record in records.items():
        ran = {line.run for line in chain.lines if line.complete and line.test.experiment == key} & runs.keys()
        parts = dict.fromkeys(part for run in sorted(ran) for part in differing(record.identity, runs[run].identity))
        if parts:
            found.append(f"{key}: the record says another {', '.join(parts)} than the run of its tests")
    return found


def differing(one: RunIdentity, other: RunIdentity) -> list[str]:
    """Names of the parts in which two identities differ."""
    return [name.replace("_", " ") for name in RunIdentity.model_fields if getattr(one, name) != getattr(other, name)]


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
        elif (there == PASSED) != (outcome == PASSED):
            found.append(f"{path.name}: {nodeid} is {there} there and {outcome} in {EVIDENCE_FILE}")
    return found


def _junit_outcome(case: ET.Element) -> str:
    return next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), PASSED)
