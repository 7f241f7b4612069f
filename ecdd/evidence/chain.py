"""The tests behind a folder's records, as a hash-chained JSONL file.

Each line holds all that one test of an experiment measured, and the digest of the line before, so that none can be
changed, removed or exchanged alone; the head of the folder (`ecdd.evidence.head`) holds the digest of the last one.
Tests of experiments that a later run did not measure keep their lines, as their records stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.errors import EcddError
from ecdd.evidence.records import Fragment
from ecdd.files import parse_json, write_bytes

EVIDENCE_FILE: Final = "evidence.jsonl"


@dataclass(frozen=True)
class Line:
    """One test: the run that it ran in, and whether that run asked for the whole of its experiment."""

    run: str
    complete: bool
    test: Fragment


@dataclass(frozen=True)
class Chain:
    """The lines of a folder, the digest of the last one, and what is wrong with the file."""

    lines: tuple[Line, ...] = ()
    digest: str = ""
    problems: tuple[str, ...] = ()


def write_chain(folder: Path, fragments: Iterable[Fragment], run: str, complete: Collection[str]) -> Chain:
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

    Returns
    -------
    Chain
        As written.
    """
    before = read_chain(folder)
    kept = [] if before.problems else [o for o in before.lines if o.complete and o.test.experiment not in complete]
    lines = (*kept, *(Line(run, fragment.experiment in complete, fragment) for fragment in fragments))
    digest, texts = "", []
    for line in lines:
        about = {"run": line.run, "complete": line.complete, "test": line.test.model_dump(mode="json")}
        content = {"previous": digest, **about}
        digest = _digest(content)
        texts.append(json.dumps({**content, "sha256": digest}, sort_keys=True, ensure_ascii=False))
    write_bytes(folder / EVIDENCE_FILE, "".join(f"{text}\n" for text in texts).encode())
    return Chain(lines, digest)


def read_chain(folder: Path) -> Chain:
    """Read ``evidence.jsonl`` up to the first line that is not as it was written."""
    path = folder / EVIDENCE_FILE
    if not path.is_file():
        return Chain(problems=(f"{path.name}: missing; run the gates again",))
    digest, lines = "", list[Line]()
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            content = parse_json(text, path)
            said = content.pop("sha256")
            line = Line(str(content["run"]), bool(content["complete"]), Fragment.model_validate(content["test"]))
            whole = content["previous"] == digest and _digest(content) == said
        except (EcddError, ValueError, KeyError, TypeError, AttributeError):
            return Chain(tuple(lines), digest, (f"{path.name} line {number}: not a record of a test",))
        if not whole:
            return Chain(tuple(lines), digest, (f"{path.name} line {number}: edited, removed or exchanged",))
        digest = said
        lines.append(line)
    return Chain(tuple(lines), digest, () if lines else (f"{path.name}: holds no test",))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
