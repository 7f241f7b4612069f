"""Groups of near-duplicates as a file that a split is built from, and the pairs that cross a lineage boundary."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ecdd.dataset_governance.leakage_scan import NearDuplicate, ScanResult, union_groups
from ecdd.dataset_governance.lineage_tags import LineageError, read_table
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.files import spreadsheet_cell, write_output

COLUMNS: Final = ("sha256", "near_duplicate_group", "hash_group", "path")


def write_groups(path: Path, rows: Sequence[ManifestRow], found: ScanResult) -> None:
    """Write every picture's group, sorted by SHA-256."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: row.sha256):
        name = spreadsheet_cell(row.name)
        writer.writerow((row.sha256, found.groups[row.sha256], found.hash_groups[row.sha256], name))
    write_output(path, buffer.getvalue().encode())


def read_groups(paths: Sequence[Path], rows: Sequence[ManifestRow]) -> tuple[dict[str, str], dict[str, str]]:
    """Read the groups of a manifest's pictures; what one of several scans joined is joined.

    Parameters
    ----------
    paths : sequence of Path
        CSV files written by `write_groups`.
    rows : sequence of ManifestRow
        The pictures; each must be in one of the files.

    Returns
    -------
    tuple of (dict, dict)
        SHA-256 to group, and to group by perceptual hash alone.

    Raises
    ------
    LineageError
        Not such a file, a picture without a group, or a hash group that lies in two groups.
    """
    near: list[tuple[str, str]] = []
    by_hash: list[tuple[str, str]] = []
    problems = []
    for path in paths:
        within: dict[str, str] = {}
        for _, row in read_table(path, COLUMNS, exactly=True):
            near.append((row["sha256"], row["near_duplicate_group"]))
            by_hash.append((row["sha256"], row["hash_group"]))
            group = within.setdefault(row["hash_group"], row["near_duplicate_group"])
            if group != row["near_duplicate_group"]:
                problems.append(f"{path.name}: hash group {row['hash_group'][:12]} lies in two groups; scan again")
    known = {key for key, _ in near}
    names = ", ".join(path.name for path in paths)
    problems += [
        f"{row.name} ({row.sha256[:12]}) is not in {names}; scan again" for row in rows if row.sha256 not in known
    ]
    if problems:
        raise LineageError(problems)
    keys = sorted({key for link in (*near, *by_hash) for key in link})
    joined, joined_by_hash = union_groups(keys, near), union_groups(keys, by_hash)
    wanted = [row.sha256 for row in rows]
    return {key: joined[key] for key in wanted}, {key: joined_by_hash[key] for key in wanted}


def crossings(pairs: Sequence[NearDuplicate], lineage: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """Name both ends of every pair of near-duplicates with two different tags.

    Parameters
    ----------
    pairs : sequence of NearDuplicate
        Of a scan.
    lineage, names : mapping of str to str
        Tag and file name by SHA-256; a picture without a tag crosses nothing.

    Returns
    -------
    list of str
        One line a pair.
    """
    found = []
    for pair in pairs:
        first, second = lineage.get(pair.first), lineage.get(pair.second)
        if first and second and first != second:
            ends = f"{names[pair.first]} in {first} and {names[pair.second]} in {second}"
            found.append(f"{ends}: {pair.distance} bits apart, {pair.shared_points} points shared")
    return found
