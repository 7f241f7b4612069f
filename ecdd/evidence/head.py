"""The head of a folder of evidence, ``index.json``: what ran, with which outcome, and the digests of all of it.

It holds the digest of every record and of the last line of the chain, so that one signature over this file covers
everything that the runs in the folder said.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from ecdd.evidence.chain import Chain
from ecdd.evidence.merging import RecordError, read_records
from ecdd.evidence.records import RunIdentity, Stored, Verdict, record_digest
from ecdd.files import write_bytes

HEAD_FILE: Final = "index.json"
PASSED: Final = "passed"
FAILED: Final = "failed"
LOST: Final = "lost"
SKIPPED: Final = "skipped: "
MARKED: Final = f"{SKIPPED}marked xfail"
_NO_REASON: Final = ("", "unconditional skip")


class RunEntry(Stored):
    """One run in the folder.

    Attributes
    ----------
    run, ended : str
        Its id, and when it ended (UTC, ISO 8601).
    identity : RunIdentity
        What it measured, and with what.
    plugins : dict of str to str
        Code of pytest's that took part and is neither pytest's own nor of the gates' code: distribution and version,
        or the digest of its file.
    tests : dict of str to str
        Every collected test, of an experiment or not: ``passed``, ``failed``, ``lost`` (it never finished) or
        ``skipped: REASON``.
    problems : tuple of str
        What went wrong outside of the tests.
    """

    run: str
    ended: str
    identity: RunIdentity
    plugins: dict[str, str]
    tests: dict[str, str]
    problems: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of tests by outcome."""
        return dict(sorted(Counter(outcome.partition(":")[0] for outcome in self.tests.values()).items()))

    def unclean(self) -> list[str]:
        """What is red, lost, excused or skipped without a reason: one line, at most three tests by name."""
        wrong = [*self.problems, *(f"{test} {outcome}" for test, outcome in self.tests.items() if not _clean(outcome))]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return [f"run {self.run[:8]} of {self.ended} was not clean: {'; '.join(wrong[:3])}{more}"] if wrong else []


def _clean(outcome: str) -> bool:
    explained = outcome.startswith(SKIPPED) and outcome.removeprefix(SKIPPED).strip() not in _NO_REASON
    return outcome == PASSED or (explained and not outcome.startswith(MARKED))


class RecordEntry(Stored):
    """One record in the folder."""

    id: str
    verdict: Verdict
    sha256: str


class Head(Stored):
    """What ``index.json`` holds; ``chain`` is the digest of the last line of ``evidence.jsonl``."""

    schema_version: Literal[2] = 2
    chain: str
    records: tuple[RecordEntry, ...]
    runs: Annotated[tuple[RunEntry, ...], Field(min_length=1)]


def write_head(folder: Path, chain: Chain, run: RunEntry) -> None:
    """Write ``index.json`` from the records in the folder, behind the runs whose tests still have a line.

    Parameters
    ----------
    folder : Path
        With the records of this run.
    chain : Chain
        As it was written.
    run : RunEntry
        This run.
    """
    try:
        before: tuple[RunEntry, ...] = read_head(folder)[0].runs
    except (RecordError, OSError):
        before = ()
    alive = {line.run for line in chain.lines}
    runs = (*(old for old in before if old.run in alive and old.run != run.run), run)
    head = Head(chain=chain.digest, records=_entries(folder), runs=runs)
    write_bytes(folder / HEAD_FILE, (head.model_dump_json(indent=1) + "\n").encode())


def _entries(folder: Path) -> tuple[RecordEntry, ...]:
    return tuple(
        RecordEntry(id=key, verdict=record.verdict, sha256=record_digest(record))
        for key, record in read_records(folder).items()
    )


def read_head(folder: Path) -> tuple[Head, str]:
    """Read the head of a folder.

    Returns
    -------
    (Head, str)
        And the SHA-256 of the bytes that it was read from.

    Raises
    ------
    RecordError
        It is none, or of an older version.
    OSError
        It cannot be read.
    """
    path = folder / HEAD_FILE
    content = path.read_bytes()
    try:
        return Head.model_validate_json(content), hashlib.sha256(content).hexdigest()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "content"
        msg = f"{path}: not the head of evidence of this version ({where}: {first['msg']}); run the gates again"
        raise RecordError(msg) from None


def runs_by_id(head: Head) -> Mapping[str, RunEntry]:
    """The runs of a head by their ids."""
    return {run.run: run for run in head.runs}
