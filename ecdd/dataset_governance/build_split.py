"""Build a split for a manifest: tags that no near-duplicate, known person or whole source crosses.

Deterministic: groups are dealt in the order of a salted hash of their digest, within their source. Half of the faces
(or the share asked for) go to TRAIN, the others half to CALIBRATION and half to TEST-NEVER-TOUCH; pictures out of scope
train nothing and go half to each of the other two. A manipulated picture stays with its untouched original (column
``pair``). A tag that the manifest asks for, a source that is held out, and the tags of an earlier split stand.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.duplicate_groups import read_groups
from ecdd.dataset_governance.leakage_scan import scan, union_groups
from ecdd.dataset_governance.lineage_history import LineageHistory, contradictions
from ecdd.dataset_governance.lineage_tags import (
    DataSplit,
    LineageError,
    LineageTag,
    SplitRow,
    split_digest,
    write_split,
)
from ecdd.dataset_governance.manifest import UNKNOWN_IDENTITY, ManifestRow, load_manifests, manifest_path
from ecdd.dataset_governance.validate_lineage import validate_lineage
from ecdd.files import check_output

TRAIN_SHARE: Final = 0.5
_MOST_USED_FIRST: Final = (LineageTag.TRAIN, LineageTag.CALIBRATION, LineageTag.TEST_NEVER_TOUCH)
_SALT: Final = "ecdd data split 1"


def assign_lineage(
    rows: list[ManifestRow],
    hash_groups: dict[str, str],
    groups: dict[str, str],
    fixed: dict[str, LineageTag] | None = None,
    train_share: float = TRAIN_SHARE,
) -> list[SplitRow]:
    """Tag every picture, group by group, in fixed shares of each source.

    Parameters
    ----------
    rows : list of ManifestRow
        The manifest.
    hash_groups : dict of str to str
        SHA-256 to its group by perceptual hash alone; the shares are dealt over these.
    groups : dict of str to str
        SHA-256 to near-duplicate group. A group of several hash groups takes the most used of their tags (TRAIN before
        CALIBRATION before TEST-NEVER-TOUCH): a pair of crops found later then moves no other picture, and nothing
        that was trained or calibrated on ever becomes a test picture.
    fixed : dict of str to LineageTag, optional
        SHA-256 to a tag that stands whatever would be dealt; the whole group takes it.
    train_share : float
        Part of the faces of a source that is trained on, 0 … 1; the others are halved.

    Returns
    -------
    list of SplitRow
        One a picture. A group of several sources counts for its first member's source.

    Raises
    ------
    LineageError
        Naming both ends wherever one group holds two fixed tags.
    """
    dealt = _deal(rows, hash_groups, train_share)
    tags: dict[str, LineageTag] = {}
    for row in rows:
        mine, group = dealt[hash_groups[row.sha256]], groups[row.sha256]
        tags[group] = min(mine, tags.get(group, mine), key=_MOST_USED_FIRST.index)
    tags |= _fixed_by_group(rows, groups, fixed or {})
    return [_split_row(row, groups[row.sha256], tags[groups[row.sha256]]) for row in rows]


def _fixed_by_group(
    rows: list[ManifestRow], groups: dict[str, str], fixed: dict[str, LineageTag]
) -> dict[str, LineageTag]:
    found: dict[str, tuple[LineageTag, str]] = {}
    problems = []
    for row in sorted(rows, key=lambda row: row.sha256):
        tag = fixed.get(row.sha256)
        if tag is None:
            continue
        first = found.setdefault(groups[row.sha256], (tag, row.name))
        if first[0] != tag:
            problems.append(
                f"{first[1]} is to be {first[0]} and {row.name} {tag}, but they are near-duplicates or one person; "
                "give both one lineage"
            )
    if problems:
        raise LineageError(problems)
    return {group: tag for group, (tag, _) in found.items()}


def _deal(rows: list[ManifestRow], groups: dict[str, str], train_share: float) -> dict[str, LineageTag]:
    members: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        members[groups[row.sha256]].append(row)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group, pictures in members.items():
        first = min(pictures, key=lambda row: row.sha256)
        strata[first.scope, first.source].append(group)
    tags: dict[str, LineageTag] = {}
    for (scope, _source), names in strata.items():
        order = sorted(names, key=lambda name: hashlib.sha256(f"{_SALT}:{name}".encode()).hexdigest())
        total = sum(len(members[name]) for name in order)
        taken = 0
        for name in order:
            tags[name] = _tag_at(taken / total, train_share if scope == "face" else 0.0)
            taken += len(members[name])
    return tags


def _tag_at(position: float, train_share: float) -> LineageTag:
    if position < train_share - 1e-9:
        return LineageTag.TRAIN
    middle = (1 + train_share) / 2
    return LineageTag.CALIBRATION if position < middle - 1e-9 else LineageTag.TEST_NEVER_TOUCH


def _split_row(row: ManifestRow, group: str, tag: LineageTag) -> SplitRow:
    label = "" if row.label is None else str(row.label)
    return SplitRow(row.sha256, tag, group, row.identity, label, row.scope, row.source)


def build_split(
    data: Path | Sequence[Path],
    out: Path,
    contract: Path | None = None,
    base: DataSplit | None = None,
    held_out: Collection[str] = (),
    history: LineageHistory | None = None,
    scanned: Sequence[Path] = (),
    train_share: float = TRAIN_SHARE,
) -> DataSplit:
    """Scan a data folder for duplicates, tag it, check the tags and write them.

    Parameters
    ----------
    data : Path, or sequence of Path
        Manifests or their folders; the columns ``identity``, ``pair`` and ``lineage`` count where they are filled.
    out : Path
        CSV to write.
    contract : Path, optional
        Decoding and near-duplicate policy; the default bundle's contract where not given.
    base : DataSplit, optional
        An earlier split: its pictures keep their tags and groups, and carry them to their new near-duplicates.
    held_out : collection of str
        Sources of which every picture becomes TEST-NEVER-TOUCH.
    history : LineageHistory, optional
        Tags that pictures have had: a split that contradicts them is not written.
    scanned : sequence of Path
        Groups of earlier scans, each of these pictures or of a part of them; they are scanned here where none is given.
    train_share : float
        Part of the faces of a source that is trained on, 0 … 1.

    Returns
    -------
    DataSplit
        What was written: the manifest's pictures, in groups of near-duplicates and known persons.

    Raises
    ------
    LineageError
        Naming both ends of every contradiction, or a held-out source that the manifest does not have.
    ManifestError, LeakageError
        From reading the manifest and its pictures.
    """
    policy = load_contract(contract).policy
    manifests = [data] if isinstance(data, Path) else list(data)
    rows = load_manifests(manifests)
    given = [*map(manifest_path, manifests), *([contract] if contract else []), *scanned]
    check_output(out, [*given, *(row.path for row in rows)], regular=True)
    if missing := sorted(set(held_out) - {row.source for row in rows}):
        raise LineageError([f"held-out source {name}: no picture of the manifest has it" for name in missing])
    if scanned:
        near, by_hash = read_groups(scanned, rows)
    else:
        found = scan([(row.sha256, row.path) for row in rows], policy.pixel_pipeline, policy.dataset_governance)
        near, by_hash = found.groups, found.hash_groups
    groups = _joined(rows, near, base)
    tagged = assign_lineage(rows, by_hash, groups, _fixed_tags(rows, base, held_out), train_share)
    split = DataSplit({row.sha256: row for row in tagged}, split_digest(tagged))
    validate_lineage(split, rows)
    if history is not None and (problems := contradictions(split, history, complete=False)):
        raise LineageError([*problems, "give the earlier split by --base: its tags stand"])
    write_split(tagged, out)
    return split


def _joined(rows: list[ManifestRow], groups: dict[str, str], base: DataSplit | None) -> dict[str, str]:
    """Join the groups that share a known person, a pair, or a group of the earlier split."""
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        earlier = None if base is None else base.rows.get(row.sha256)
        for kind, name in (
            ("identity", "" if row.identity == UNKNOWN_IDENTITY else row.identity),
            ("pair", row.pair),
            ("earlier", earlier.near_duplicate_group if earlier else ""),
        ):
            if name:
                shared[kind, name].append(row.sha256)
    pairs = [(row.sha256, groups[row.sha256]) for row in rows]
    pairs += [(pictures[0], other) for pictures in shared.values() for other in pictures[1:]]
    return union_groups([row.sha256 for row in rows], pairs)


def _fixed_tags(rows: list[ManifestRow], base: DataSplit | None, held_out: Collection[str]) -> dict[str, LineageTag]:
    """Tags that stand: of the earlier split, of held-out sources, and those that the manifest asks for."""
    fixed: dict[str, LineageTag] = {}
    problems = []
    for row in rows:
        earlier = None if base is None else base.rows.get(row.sha256)
        tags = [earlier.lineage] if earlier else []
        tags += [LineageTag.TEST_NEVER_TOUCH] if row.source in held_out else []
        tags += [row.lineage] if row.lineage else []
        if len(set(tags)) > 1:
            wanted = " and ".join(dict.fromkeys(tags))
            problems.append(
                f"{row.name}: earlier split, held-out source and manifest want {wanted}; a tag never changes"
            )
        elif tags:
            fixed[row.sha256] = tags[0]
    if problems:
        raise LineageError(problems)
    return fixed
