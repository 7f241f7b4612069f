"""Change a tag: the line in the history first, then the split."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ecdd.dataset_governance.leakage_scan import union_groups
from ecdd.dataset_governance.lineage_history import (
    Change,
    append_changes,
    history_path,
    read_history,
    record_split,
)
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageError, LineageTag, load_split, write_split
from ecdd.dataset_governance.manifest import UNKNOWN_IDENTITY
from ecdd.dataset_governance.validate_lineage import validate_lineage


def retag(
    split_file: Path, pictures: Iterable[str], to: LineageTag, who: str, reason: str, when: datetime.datetime
) -> Counter[LineageTag]:
    """Give pictures, and all of their near-duplicates and persons, another tag.

    Parameters
    ----------
    split_file : Path
        The split; its history lies beside it and is begun with the present tags where there is none.
    pictures : iterable of str
        SHA-256.
    to : LineageTag
        The new tag.
    who, reason : str
        For the history.
    when : datetime
        UTC.

    Returns
    -------
    Counter of LineageTag
        How many pictures left which tag.

    Raises
    ------
    LineageError
        An unknown picture, a change that is not allowed, or a history that does not agree with the split; nothing is
        changed then.
    """
    split, history = load_split(split_file), history_path(split_file)
    wanted = set(pictures)
    if unknown := sorted(wanted - set(split.rows)):
        raise LineageError(
            [f"{key[:12]} is not in {split_file.name}; ecdd govern split adds pictures" for key in unknown]
        )
    moved = [split.rows[key] for key in sorted(_linked(split, wanted)) if split.rows[key].lineage is not to]
    if not moved:
        raise LineageError([f"every picture named is {to} already"])
    validate_lineage(split)
    standing = read_history(history).standing
    # a crash between the two files leaves the line without the split's change: then only the split is left to write
    waiting = [row for row in moved if row.sha256 not in standing or standing[row.sha256].tag is not to]
    leaving = {tag: tuple(row.sha256 for row in waiting if row.lineage is tag) for tag in LineageTag}
    changes = [
        Change(when=when, who=who, reason=reason, what=what, from_tag=tag, to_tag=to)
        for tag, what in leaving.items()
        if what
    ]
    if not standing:
        record_split(split, history, who, when)
    if changes:
        append_changes(history, changes)
    rows = dict(split.rows) | {row.sha256: replace(row, lineage=to) for row in moved}
    write_split(rows.values(), split_file)
    return Counter(row.lineage for row in moved)


def _linked(split: DataSplit, keys: set[str]) -> set[str]:
    """The pictures and everything that shares a group or a known person with them."""
    members: dict[str, list[str]] = defaultdict(list)
    for row in split.rows_with(LineageTag):
        members[f"group {row.near_duplicate_group}"].append(row.sha256)
        if row.identity != UNKNOWN_IDENTITY:
            members[f"person {row.identity}"].append(row.sha256)
    pairs = [(linked[0], other) for linked in members.values() for other in linked[1:]]
    roots = union_groups(list(split.rows), pairs)
    wanted = {roots[key] for key in keys}
    return {key for key, root in roots.items() if root in wanted}
