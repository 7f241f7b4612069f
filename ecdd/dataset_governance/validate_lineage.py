"""Proof that no picture, near-duplicate group or person crosses a lineage boundary (E8.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ecdd.dataset_governance.lineage_tags import DataSplit, LineageError, LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow


def validate_lineage(split: DataSplit, manifest: Iterable[ManifestRow] | None = None) -> None:
    """Fail when a near-duplicate group or a known person crosses tags, or when split and data do not match.

    Parameters
    ----------
    split : DataSplit
        The split; one row a picture, so a picture cannot cross by itself.
    manifest : iterable of ManifestRow, optional
        The data that the split is of: then every picture must be in both, with one label, scope and source.

    Raises
    ------
    LineageError
        Naming both ends of every crossing, every picture without a tag and every tag without a picture.
    """
    problems = [] if split.rows else ["the split has no rows"]
    problems += _crossings(split.rows.values(), "near_duplicate_group", unknown="")
    problems += _crossings(split.rows.values(), "identity", unknown="unknown")
    if manifest is not None:
        present = list(manifest)
        known = {row.sha256 for row in present}
        try:
            join(present, split)
        except LineageError as error:
            problems += error.problems
        problems += [f"{key[:12]} is in the split but not in the data" for key in sorted(set(split.rows) - known)]
    if problems:
        raise LineageError(problems)


def _crossings(rows: Iterable[SplitRow], attribute: str, unknown: str) -> list[str]:
    members: dict[str, list[SplitRow]] = defaultdict(list)
    for row in rows:
        if getattr(row, attribute) != unknown:
            members[getattr(row, attribute)].append(row)
    problems = []
    for value, group in sorted(members.items()):
        by_tag = {row.lineage: row for row in sorted(group, key=lambda row: row.sha256, reverse=True)}
        if len(by_tag) > 1:
            ends = " and ".join(f"{row.sha256[:12]} in {tag}" for tag, row in sorted(by_tag.items()))
            problems.append(f"{attribute} {value[:16]} crosses a boundary: {ends}")
    return problems


def assert_lineage(split: DataSplit, keys: Iterable[str], allowed: Iterable[LineageTag]) -> None:
    """Fail when a picture that is about to be used has another tag than allowed.

    Parameters
    ----------
    split : DataSplit
        The split.
    keys : iterable of str
        SHA-256 of the pictures.
    allowed : iterable of LineageTag
        Tags that the use permits.

    Raises
    ------
    LineageError
        Naming every picture that is unknown or tagged otherwise; also when there is no picture: nothing is no proof.
    """
    wanted = frozenset(allowed)
    pictures = list(keys)
    problems = [] if pictures else ["no pictures to check"]
    for key in pictures:
        row = split.rows.get(key)
        if row is None:
            problems.append(f"{key[:12]} is not in the split; tag it before it is used")
        elif row.lineage not in wanted:
            problems.append(f"{key[:12]} is {row.lineage}, allowed here: {', '.join(sorted(wanted))}")
    if problems:
        raise LineageError(problems)


def join(manifest: Iterable[ManifestRow], split: DataSplit) -> list[tuple[ManifestRow, SplitRow]]:
    """Pair every manifest row with its split row.

    Parameters
    ----------
    manifest : iterable of ManifestRow
        Labelled pictures.
    split : DataSplit
        Tags.

    Returns
    -------
    list of (ManifestRow, SplitRow)
        In manifest order.

    Raises
    ------
    LineageError
        For a picture without a tag, or whose label or source differs between the two files.
    """
    pairs = []
    problems = []
    for row in manifest:
        tagged = split.rows.get(row.sha256)
        label = "" if row.label is None else str(row.label)
        if tagged is None:
            problems.append(f"{row.name} ({row.sha256[:12]}) is not in the split")
        elif (tagged.label, tagged.scope, tagged.source) != (label, row.scope, row.source):
            problems.append(f"{row.name}: label, scope or source differ between manifest and split")
        else:
            pairs.append((row, tagged))
    if problems:
        raise LineageError(problems)
    return pairs
