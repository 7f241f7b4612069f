"""Append-only history of lineage tags: who gave which picture which tag, when and why (E8.3).

The split file says what holds now; the history, a hash chain beside it, says how it came to that. A tag that was edited
in the split alone, a change that no rule allows, and a history that lost lines are all noticed.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecdd.dataset_governance.hash_chain import ChainError, HashChain
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageError, LineageTag, load_split, split_digest
from ecdd.files import write_bytes

# From a tag (None: never tagged) to the tags that may follow. A picture may leave its use for AUDIT; nothing comes back
# from AUDIT, since people have looked at it, and nothing leaves TEST-NEVER-TOUCH, since results were reported on it.
ALLOWED_CHANGES: Final[Mapping[LineageTag | None, frozenset[LineageTag]]] = {
    None: frozenset(LineageTag),
    LineageTag.TRAIN: frozenset({LineageTag.AUDIT}),
    LineageTag.CALIBRATION: frozenset({LineageTag.AUDIT}),
    LineageTag.AUDIT: frozenset(),
    LineageTag.TEST_NEVER_TOUCH: frozenset(),
}

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Change(BaseModel):
    """One line of the history: pictures that got one tag for one reason, or a source that is held out.

    Attributes
    ----------
    when : datetime
        UTC, to the second.
    who, reason : str
        For a reader.
    what : tuple of str
        SHA-256 of the pictures; empty for a held-out source.
    from_tag, to_tag : LineageTag or None
        ``from`` and ``to`` in the file; None before the first tag.
    group : str
        Near-duplicate group of the pictures, where no split says it; empty: each is its own.
    held_out : str
        Source of which every picture is TEST-NEVER-TOUCH from here on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    when: datetime.datetime
    who: Text
    reason: Text
    what: tuple[Digest, ...] = ()
    from_tag: Annotated[LineageTag | None, Field(alias="from")] = None
    to_tag: Annotated[LineageTag, Field(alias="to")]
    group: str = ""
    held_out: str = ""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Change:
        if bool(self.what) == bool(self.held_out):
            msg = "names either pictures (what) or a source (held_out)"
            raise ValueError(msg)
        if self.held_out and self.to_tag is not LineageTag.TEST_NEVER_TOUCH:
            msg = "a held-out source is TEST-NEVER-TOUCH"
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class Standing:
    """The tag that a picture has by a history, and the line that gave it."""

    tag: LineageTag
    where: str
    group: str


@dataclass(frozen=True)
class LineageHistory:
    """What a history says holds now.

    Attributes
    ----------
    name : str
        File, for messages.
    standing : dict of str to Standing
        By SHA-256.
    held_out : dict of str to str
        Held-out source to the line that says so.
    problems : list of str
        Changes that no rule allows, each with both ends.
    """

    name: str
    standing: dict[str, Standing] = field(default_factory=dict)
    held_out: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def history_path(split: Path) -> Path:
    """The history beside a split: ``split.csv`` has ``split.history.jsonl``."""
    return split.with_name(f"{split.stem}.history.jsonl")


def carried_history(path: Path, base: Path | None) -> Path:
    """The history that a new split goes on from: its own, or the earlier split's where it has none yet."""
    return base if base is not None and not path.is_file() else path


def carry(history: Path, path: Path) -> None:
    """Copy a history and its head to the place of a new split's, unless it is there already.

    Raises
    ------
    LineageError
        They cannot be written.
    """
    if history == path or not history.is_file():
        return
    try:
        write_bytes(path.with_suffix(".head"), history.with_suffix(".head").read_bytes(), durable=True)
        write_bytes(path, history.read_bytes(), durable=True)
    except OSError as error:
        raise LineageError([f"{path.name}: cannot be written ({error.strerror})"]) from error


def read_history(path: Path) -> LineageHistory:
    """Read a history and replay it.

    Parameters
    ----------
    path : Path
        JSON lines; a file that does not exist is an empty history.

    Returns
    -------
    LineageHistory
        Its ``problems`` name every change that was not allowed.

    Raises
    ------
    LineageError
        The chain was edited or truncated, or a line is no change of tags.
    """
    history = LineageHistory(path.name)
    for number, change in enumerate(_changes(path), start=1):
        _replay(history, change, f"{path.name} line {number} ({change.when:%Y-%m-%d}, {change.who}: {change.reason})")
    return history


def _changes(path: Path) -> list[Change]:
    try:
        entries = HashChain(path).read()
    except ChainError as error:
        raise LineageError([str(error)]) from error
    changes = []
    for number, entry in enumerate(entries, start=1):
        try:
            changes.append(Change.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise LineageError([f"{path.name} line {number}: {key}: {first['msg']}"]) from error
    return changes


def _replay(history: LineageHistory, change: Change, where: str) -> None:
    if change.held_out:
        history.held_out.setdefault(change.held_out, where)
    for key in change.what:
        now = history.standing.get(key)
        tag = None if now is None else now.tag
        if change.from_tag != tag:
            history.problems.append(
                f"{where}: {key[:12]} changes from {change.from_tag or 'no tag'}, but it is {tag or 'not tagged'}"
                + ("" if now is None else f" by {now.where}")
            )
        elif change.to_tag not in ALLOWED_CHANGES[tag]:
            history.problems.append(
                f"{where}: {key[:12]} is {tag} by {now.where if now else ''}, and must not become {change.to_tag}"
            )
        history.standing[key] = Standing(change.to_tag, where, change.group or (now.group if now else key))


def split_as_of(split: DataSplit, path: Path, digest: str) -> DataSplit | None:
    """Give a split as it stood when it had a digest: a split grows, and what was made with it before stays true.

    Parameters
    ----------
    split : DataSplit
        What holds now.
    path : Path
        Its history.
    digest : str
        What a record cites.

    Returns
    -------
    DataSplit or None
        The pictures that were tagged by then, with the tags of then; None where the history led through no such split.

    Raises
    ------
    LineageError
        The history is broken.
    """
    if digest == split.digest:
        return split
    tags: dict[str, LineageTag] = {}
    for change in _changes(path):
        tags |= dict.fromkeys(change.what, change.to_tag)
        rows = [replace(split.rows[key], lineage=tag) for key, tag in tags.items() if key in split.rows]
        if len(rows) == len(tags) and split_digest(rows) == digest:
            return DataSplit({row.sha256: row for row in rows}, digest)
    return None


def split_cited(path: Path, record: Mapping[str, Any]) -> DataSplit:
    """Give the split that a training record cites, as it stood then; today's where its history led through no such."""
    now = load_split(path)
    return split_as_of(now, history_path(path), str(record.get("data_split_digest") or "")) or now


def append_changes(path: Path, changes: Sequence[Change]) -> None:
    """Append changes after checking that each is allowed; all or none.

    Parameters
    ----------
    path : Path
        The history; made when missing.
    changes : sequence of Change
        In order.

    Raises
    ------
    LineageError
        Naming every change that is not allowed and the line that it contradicts; or the chain is broken.
    """
    entries: list[dict[str, Any]] = [
        change.model_dump(mode="json", by_alias=True, exclude_defaults=True) for change in changes
    ]
    history = read_history(path)
    known = len(history.problems)
    for change in changes:
        _replay(history, change, f"the change that {change.who} asks for ({change.reason})")
    if history.problems[known:]:
        raise LineageError(history.problems[known:])
    try:
        HashChain(path).append(entries)
    except ChainError as error:
        raise LineageError([str(error)]) from error


def record_split(split: DataSplit, path: Path, who: str, when: datetime.datetime, held_out: Iterable[str] = ()) -> int:
    """Write the first tags of a split's pictures, and its held-out sources, into its history.

    Parameters
    ----------
    split : DataSplit
        The split.
    path : Path
        Its history.
    who : str
        Who built the split.
    when : datetime
        UTC.
    held_out : iterable of str
        Sources of which every picture is TEST-NEVER-TOUCH.

    Returns
    -------
    int
        How many pictures were new to the history.

    Raises
    ------
    LineageError
        Naming every picture that the history knows by another tag.
    """
    history = read_history(path)
    if problems := contradictions(split, history, complete=False):
        raise LineageError(problems)
    changes = []
    for tag in LineageTag:
        new = tuple(row.sha256 for row in split.rows_with([tag]) if row.sha256 not in history.standing)
        if new:
            changes.append(Change(when=when, who=who, reason="first tag, by ecdd govern split", what=new, to_tag=tag))
    for source in sorted(set(held_out) - set(history.held_out)):
        reason = "source held out"
        changes.append(Change(when=when, who=who, reason=reason, held_out=source, to_tag=LineageTag.TEST_NEVER_TOUCH))
    if changes:
        append_changes(path, changes)
    return sum(len(change.what) for change in changes)


def contradictions(split: DataSplit, history: LineageHistory, *, complete: bool) -> list[str]:
    """Where a split and a history do not say the same.

    Parameters
    ----------
    split : DataSplit
        What holds now.
    history : LineageHistory
        How it came to that; it may know pictures that the split does not have, such as reviewed ones.
    complete : bool
        The history is the split's own: a picture that it does not know was tagged without a line.

    Returns
    -------
    list of str
        Both ends of every contradiction, and of every near-duplicate group and held-out source that is crossed.
    """
    found = list(history.problems)
    for key in sorted(split.rows):
        row, standing = split.rows[key], history.standing.get(key)
        if standing is not None and standing.tag != row.lineage:
            found.append(f"{key[:12]} is {row.lineage} in the split, but {standing.tag} by {standing.where}")
        elif standing is None and complete:
            found.append(f"{key[:12]} is {row.lineage} in the split, and {history.name} has no line that gave the tag")
        line = history.held_out.get(row.source)
        if line is not None and row.lineage is not LineageTag.TEST_NEVER_TOUCH:
            found.append(f"{key[:12]} is {row.lineage}, but its source {row.source} is held out by {line}")
    return found + _group_crossings(split, history)


def _group_crossings(split: DataSplit, history: LineageHistory) -> list[str]:
    """Pictures known to a history alone against the split's groups: a reviewed copy of a training picture."""
    members: dict[str, tuple[str, LineageTag]] = {}
    for row in split.rows_with(LineageTag):
        members.setdefault(row.near_duplicate_group, (row.sha256, row.lineage))
    found = []
    for key in sorted(set(history.standing) - set(split.rows)):
        standing = history.standing[key]
        other = members.get(standing.group)
        if other is not None and other[1] != standing.tag:
            found.append(
                f"near-duplicate group {standing.group[:16]} crosses a boundary: {key[:12]} is {standing.tag} by "
                f"{standing.where}, and {other[0][:12]} is {other[1]} in the split"
            )
    return found
