"""Data manifests: the labelled pictures of a team, checked row by row before anything reads them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.dataset_governance.lineage_tags import LABELS, SCOPES, LineageError, LineageTag, read_table
from ecdd.errors import ListedError

_REQUIRED: Final = ("path", "label", "scope", "source")
UNKNOWN_IDENTITY: Final = "unknown"


class ManifestError(ListedError):
    """Every offending row of a manifest, one a line."""


@dataclass(frozen=True)
class ManifestRow:
    """One picture of a data manifest; ``path`` is absolute or relative to the manifest.

    ``identity`` names the person where the manifest does; ``lineage`` is a tag that the manifest itself asks for;
    ``pair`` joins a manipulated picture with its untouched original, empty where it has none.
    """

    path: Path
    name: str
    label: int | None
    scope: str
    source: str
    year: int | None
    sha256: str
    identity: str = "unknown"
    lineage: LineageTag | None = None
    pair: str = ""


def manifest_path(data: Path) -> Path:
    """The manifest meant by ``--data``: the file itself, or ``manifest.csv`` in the folder."""
    return data / "manifest.csv" if data.is_dir() else data


def load_manifest(
    data: Path, *, check_digests: bool = True, need_digests: bool = False, skipped: list[str] | None = None
) -> list[ManifestRow]:
    """Load a manifest and check every row.

    Parameters
    ----------
    data : Path
        Manifest, or a folder with ``manifest.csv``; columns ``path,label,scope,source`` and optionally
        ``year,identity,lineage,pair,sha256``.
    check_digests : bool
        Read every file and compare its SHA-256 with the manifest's; without the column the digest is computed.
    need_digests : bool
        A row without a SHA-256 of its own is a problem: whatever file lies there now would count as the one meant.
    skipped : list of str, optional
        Take the problems here and leave the rows that have one out (``--skip-bad``), instead of refusing the manifest.
        Of a picture that stands twice the first row stays. A person in two lineages is refused all the same: which
        of the rows is wrong is nothing that a program can know.

    Returns
    -------
    list of ManifestRow
        In the order of the file.

    Raises
    ------
    ManifestError
        One error listing every row with too few cells, a missing file, a wrong digest, a bad label, scope or lineage,
        a picture met twice, a person in two lineages; or nothing is left.
    """
    path = manifest_path(data)
    if not path.is_file():
        raise ManifestError([f"{path}: no such manifest; give a CSV file or a folder with manifest.csv"])
    problems: list[str] = []
    try:
        table = read_table(path, _REQUIRED, exactly=False, ragged=problems)
    except LineageError as error:
        raise ManifestError(error.problems) from error
    rows: list[ManifestRow] = []
    seen: dict[str, int] = {}
    for line, cells in table:
        row, found = _read_row(path.parent, cells, check_digests=check_digests)
        if need_digests and not cells.get("sha256"):
            found.append("no sha256; without it nothing says which picture is meant")
        if row.sha256 and row.sha256 in seen:
            found.append(f"the same picture as line {seen[row.sha256]}")
        seen.setdefault(row.sha256, line)
        problems += [f"{path.name}:{line}: {cells['path']}: {text}" for text in found]
        if not found:
            rows.append(row)
    crossings = _identities_in_two_lineages(path.name, rows)
    if not rows:
        problems.append(
            f"{path.name}: no rows" if not problems and not table else f"{path.name}: no row without a problem"
        )
    if crossings or not rows or (problems and skipped is None):
        raise ManifestError(problems + crossings)
    if skipped is not None:
        skipped += problems
    return rows


def load_manifests(
    data: Sequence[Path], *, need_digests: bool = False, skipped: list[str] | None = None
) -> list[ManifestRow]:
    """Load several manifests as one data set.

    Parameters
    ----------
    data : sequence of Path
        Manifests or their folders, for `load_manifest`.
    need_digests : bool
        As in `load_manifest`.
    skipped : list of str, optional
        As in `load_manifest`; of a picture that two manifests hold the first row stays.

    Returns
    -------
    list of ManifestRow
        In the order given.

    Raises
    ------
    ManifestError
        Naming every problem of every manifest, and every picture that two of them hold.
    """
    rows: list[ManifestRow] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for path in data:
        try:
            found = load_manifest(path, need_digests=need_digests, skipped=skipped)
        except ManifestError as error:
            problems += error.problems
            continue
        twice = [row for row in found if row.sha256 in seen]
        lines = [f"{manifest_path(path)}: {row.name}: the same picture as {seen[row.sha256]}" for row in twice]
        if skipped is None:
            problems += lines
        else:
            skipped += lines
        rows += [row for row in found if row.sha256 not in seen]
        seen |= {row.sha256: str(row.path) for row in found if row.sha256 not in seen}
    problems += _identities_in_two_lineages("manifests", rows) if len(data) > 1 else []
    if problems:
        raise ManifestError(problems)
    return rows


def merged_text(data: Sequence[Path], folder: Path) -> str:
    """Write several manifests as one, for what reads a single one.

    Parameters
    ----------
    data : sequence of Path
        Manifests or their folders.
    folder : Path
        Folder that the new manifest will lie in; paths become relative to it.

    Returns
    -------
    str
        CSV with every column that one of them has, empty where a manifest lacks it.

    Raises
    ------
    ManifestError
        As `load_manifests`.
    """
    load_manifests(data)
    tables = [(path, read_table(path, _REQUIRED, exactly=False)) for path in map(manifest_path, data)]
    columns = list(dict.fromkeys(name for _, table in tables for _, cells in table for name in cells))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for path, table in tables:
        root = Path(os.path.relpath(path.parent, folder))
        writer.writerows({**cells, "path": (root / cells["path"]).as_posix()} for _, cells in table)
    return buffer.getvalue()


def _identities_in_two_lineages(name: str, rows: list[ManifestRow]) -> list[str]:
    tags: dict[str, dict[LineageTag, str]] = {}
    for row in rows:
        if row.identity != UNKNOWN_IDENTITY and row.lineage is not None:
            tags.setdefault(row.identity, {}).setdefault(row.lineage, row.name)
    return [
        f"{name}: identity {person} is in {' and in '.join(f'{tag} ({path})' for tag, path in sorted(found.items()))}; "
        "one person belongs to one lineage"
        for person, found in sorted(tags.items())
        if len(found) > 1
    ]


def _read_row(root: Path, cells: dict[str, str], *, check_digests: bool) -> tuple[ManifestRow, list[str]]:
    problems = []
    label, scope, year = cells["label"] or "", cells["scope"] or "", cells.get("year") or ""
    if label not in LABELS:
        problems.append(f"label {label!r}, allowed are 0 (real), 1 (fake) and empty")
    if scope not in SCOPES:
        problems.append(f"scope {scope!r}, allowed are {', '.join(SCOPES)}")
    if scope == "face" and label == "":
        problems.append("a picture in scope needs a label")
    if year and not year.isdigit():
        problems.append(f"year {year!r} is not a number")
    lineage, identity = cells.get("lineage") or "", cells.get("identity") or UNKNOWN_IDENTITY
    if lineage and lineage not in LineageTag.__members__.values():
        problems.append(f"lineage {lineage!r}, allowed are {', '.join(LineageTag)} and empty")
    if not cells["source"]:
        problems.append("no source")
    path = root / cells["path"]
    sha256 = (cells.get("sha256") or "").lower()
    if not path.is_file():
        problems.append("no such file")
    elif check_digests or not sha256:
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            found = ""
            problems.append(f"cannot be read: {error.__class__.__name__}")
        if found and sha256 and found != sha256:
            problems.append(f"SHA-256 is {found[:12]}…, the manifest says {sha256[:12]}…")
        sha256 = sha256 or found
    row = ManifestRow(
        path=path,
        name=cells["path"],
        label=int(label) if label in ("0", "1") else None,
        scope=scope,
        source=cells["source"],
        year=int(year) if year.isdigit() else None,
        sha256=sha256,
        identity=identity,
        lineage=LineageTag(lineage) if lineage in LineageTag.__members__.values() else None,
        pair=cells.get("pair") or "",
    )
    return row, problems


def manifest_digest(rows: list[ManifestRow]) -> str:
    """SHA-256 over digest, label, scope and source of every row, sorted: names and order do not matter."""
    lines = sorted(f"{row.sha256},{row.label},{row.scope},{row.source}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
