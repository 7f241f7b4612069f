"""Proof that no picture, near-duplicate group or person crosses a lineage boundary (E8.3)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecdd.dataset_governance.lineage_history import LineageHistory, contradictions
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
        For a picture without a tag, or whose label, source or lineage differs between the two files.
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
        elif row.lineage is not None and row.lineage is not tagged.lineage:
            problems.append(
                f"{row.name} ({row.sha256[:12]}) is {row.lineage} in the manifest and {tagged.lineage} in the split"
            )
        else:
            pairs.append((row, tagged))
    if problems:
        raise LineageError(problems)
    return pairs


@dataclass(frozen=True)
class Use:
    """Pictures that something was made or measured with, and the tags that allow it."""

    name: str
    digests: tuple[str, ...]
    allowed: tuple[LineageTag, ...]


def check_lineage(
    split: DataSplit,
    manifest: Iterable[ManifestRow] | None = None,
    own: LineageHistory | None = None,
    others: Sequence[LineageHistory] = (),
    held_out: Iterable[str] = (),
    uses: Sequence[Use] = (),
    found: Iterable[str] = (),
) -> None:
    """Fail on anything that crosses a boundary: the whole of E8.3.

    Parameters
    ----------
    split : DataSplit
        What holds now.
    manifest : iterable of ManifestRow, optional
        The data.
    own : LineageHistory, optional
        The split's own history: unless it is empty, every tag has a line in it.
    others : sequence of LineageHistory
        Histories of review stores: what they tag AUDIT is nothing else in the split, by digest and by group.
    held_out : iterable of str
        Sources of which every picture must be TEST-NEVER-TOUCH, besides those that the histories name.
    uses : sequence of Use
        What bundles were trained, calibrated and measured with; no picture may serve two uses.
    found : iterable of str
        Problems that were found already, to be named in the same error.

    Raises
    ------
    LineageError
        Naming both ends of every crossing.
    """
    problems = list(found)
    try:
        validate_lineage(split, manifest)
    except LineageError as error:
        problems += error.problems
    if own is not None and (own.standing or own.held_out):
        problems += contradictions(split, own, complete=True)
    for history in others:
        problems += contradictions(split, history, complete=False)
    for source in sorted(set(held_out)):
        rows = [row for row in split.rows_with(LineageTag) if row.source == source]
        problems += [] if rows else [f"held-out source {source}: no picture of the split has it"]
        problems += [
            f"{row.sha256[:12]} is {row.lineage}, but its source {source} is held out"
            for row in rows
            if row.lineage is not LineageTag.TEST_NEVER_TOUCH
        ]
    problems += _misused(split, uses)
    if problems:
        raise LineageError(problems)


def _misused(split: DataSplit, uses: Sequence[Use]) -> list[str]:
    problems = []
    first: dict[str, str] = {}
    for use in uses:
        try:
            assert_lineage(split, use.digests, use.allowed)
        except LineageError as error:
            problems += [f"{use.name}: {text}" for text in error.problems]
        problems += [
            f"{key[:12]} serves {first[key]} and {use.name}; no picture may serve both"
            for key in sorted(set(use.digests))
            if key in first and first[key] != use.name
        ]
        first |= {key: use.name for key in use.digests if key not in first}
    return problems


def training_differs(split: DataSplit, record: Mapping[str, Any]) -> list[str]:
    """Whether a bundle's training record is of this split.

    Parameters
    ----------
    split : DataSplit
        The split.
    record : mapping
        ``training_record.json``. It lists no picture; it cites the digest of the split it read, and how many pictures
        each source gave, ``"source (real)"`` or ``"source (fake)"``.

    Returns
    -------
    list of str
        Empty when the record cites exactly this split and the numbers are those of its TRAIN pictures.
    """
    cited = str(record.get("data_split_digest") or "none")
    problems = []
    if cited != split.digest:
        problems.append(f"training record: made with split {cited[:12]}, this one is {split.digest[:12]}")
    kinds = {"0": "real", "1": "fake"}
    rows = Counter(f"{row.source} ({kinds.get(row.label, 'no label')})" for row in split.rows_with([LineageTag.TRAIN]))
    told = {str(name): int(count) for name, count in dict(record.get("pictures") or {}).items()}
    return problems + [
        f"training record: {told.get(name, 0)} pictures of {name}, TRAIN of the split has {rows.get(name, 0)}"
        for name in sorted(set(rows) | set(told))
        if told.get(name, 0) != rows.get(name, 0)
    ]
