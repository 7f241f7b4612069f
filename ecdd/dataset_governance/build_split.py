"""Build a split: ``python -m ecdd.dataset_governance.build_split --data PATH --out golden/data_split.csv``.

Deterministic: a group's tag depends on its digest alone, within its source. Faces go half to TRAIN and a quarter each
to CALIBRATION and TEST-NEVER-TOUCH; pictures out of scope train nothing and go half to each of the other two.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Final

from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.leakage_scan import hash_files, near_duplicate_groups
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageTag, SplitRow, split_digest, write_split
from ecdd.dataset_governance.manifest import ManifestRow, load_manifest
from ecdd.dataset_governance.validate_lineage import validate_lineage

_SHARES: Final = {
    "face": ((LineageTag.TRAIN, 0.5), (LineageTag.CALIBRATION, 0.25), (LineageTag.TEST_NEVER_TOUCH, 0.25)),
    "ood": ((LineageTag.CALIBRATION, 0.5), (LineageTag.TEST_NEVER_TOUCH, 0.5)),
}
_SALT: Final = "ecdd data split 1"


def assign_lineage(rows: list[ManifestRow], groups: dict[str, str]) -> list[SplitRow]:
    """Tag every picture, group by group, in fixed shares of each source.

    Parameters
    ----------
    rows : list of ManifestRow
        The manifest.
    groups : dict of str to str
        SHA-256 to near-duplicate group.

    Returns
    -------
    list of SplitRow
        One a picture. A group of several sources is tagged by its first member's source.
    """
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
    return [_split_row(row, groups[row.sha256], tags[groups[row.sha256]]) for row in rows]


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


def build_split(data: Path, out: Path) -> DataSplit:
    """Scan a data folder for duplicates, tag it, check the tags and write them.

    Parameters
    ----------
    data : Path
        Manifest or its folder.
    out : Path
        CSV to write.

    Returns
    -------
    DataSplit
        What was written.
    """
    policy = load_contract(Path("contracts/policy_contract.yaml")).policy
    rows = load_manifest(data)
    hashed = hash_files([(row.sha256, row.path) for row in rows], policy.pixel_pipeline, policy.dataset_governance)
    groups = near_duplicate_groups(hashed, policy.dataset_governance.near_duplicate_max_distance)
    tagged = assign_lineage(rows, groups)
    split = DataSplit({row.sha256: row for row in tagged}, split_digest(tagged))
    validate_lineage(split)
    write_split(tagged, out)
    return split


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    split = build_split(options.data, options.out)
    print(f"{len(split.rows)} pictures, digest {split.digest}")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
