"""Build a split: ``python -m ecdd.dataset_governance.build_split --data PATH --out golden/data_split.csv``.

Deterministic: groups are dealt in the order of a salted hash of their digest, within their source. Faces go half to
TRAIN and a quarter each to CALIBRATION and TEST-NEVER-TOUCH; pictures out of scope train nothing and go half to each
of the other two.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Final

from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.leakage_scan import scan
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageTag, SplitRow, split_digest, write_split
from ecdd.dataset_governance.manifest import ManifestRow, load_manifest
from ecdd.dataset_governance.validate_lineage import validate_lineage

_SHARES: Final = {
    "face": ((LineageTag.TRAIN, 0.5), (LineageTag.CALIBRATION, 0.25), (LineageTag.TEST_NEVER_TOUCH, 0.25)),
    "ood": ((LineageTag.CALIBRATION, 0.5), (LineageTag.TEST_NEVER_TOUCH, 0.5)),
}
_MOST_USED_FIRST: Final = (LineageTag.TRAIN, LineageTag.CALIBRATION, LineageTag.TEST_NEVER_TOUCH)
_SALT: Final = "ecdd data split 1"


def assign_lineage(rows: list[ManifestRow], hash_groups: dict[str, str], groups: dict[str, str]) -> list[SplitRow]:
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

    Returns
    -------
    list of SplitRow
        One a picture. A group of several sources counts for its first member's source.
    """
    dealt = _deal(rows, hash_groups)
    tags: dict[str, LineageTag] = {}
    for row in rows:
        mine, group = dealt[hash_groups[row.sha256]], groups[row.sha256]
        tags[group] = min(mine, tags.get(group, mine), key=_MOST_USED_FIRST.index)
    return [_split_row(row, groups[row.sha256], tags[groups[row.sha256]]) for row in rows]


def _deal(rows: list[ManifestRow], groups: dict[str, str]) -> dict[str, LineageTag]:
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
            tags[name] = _tag_at(taken / total, scope)
            taken += len(members[name])
    return tags


def _tag_at(position: float, scope: str) -> LineageTag:
    reached = 0.0
    for tag, share in _SHARES[scope]:
        reached += share
        if position < reached - 1e-9:
            return tag
    return _SHARES[scope][-1][0]


def _split_row(row: ManifestRow, group: str, tag: LineageTag) -> SplitRow:
    label = "" if row.label is None else str(row.label)
    return SplitRow(row.sha256, tag, group, "unknown", label, row.scope, row.source)


def build_split(data: Path, out: Path, contract: Path | None = None) -> DataSplit:
    """Scan a data folder for duplicates, tag it, check the tags and write them.

    Parameters
    ----------
    data : Path
        Manifest or its folder.
    out : Path
        CSV to write.
    contract : Path, optional
        Decoding and near-duplicate policy; the default bundle's contract where not given.

    Returns
    -------
    DataSplit
        What was written.
    """
    policy = load_contract(contract).policy
    rows = load_manifest(data)
    files = [(row.sha256, row.path) for row in rows]
    found = scan(files, policy.pixel_pipeline, policy.dataset_governance)
    tagged = assign_lineage(rows, found.hash_groups, found.groups)
    split = DataSplit({row.sha256: row for row in tagged}, split_digest(tagged))
    validate_lineage(split, rows)
    write_split(tagged, out)
    return split


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--contract", type=Path)
    options = parser.parse_args()
    split = build_split(options.data, options.out, options.contract)
    print(f"{len(split.rows)} pictures, digest {split.digest}")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
