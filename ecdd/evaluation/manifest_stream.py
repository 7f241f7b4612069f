"""Rows of a manifest, one at a time: a manifest may be longer than memory allows, and its files may be missing.

Unlike `ecdd.dataset_governance.manifest`, which refuses a manifest with a missing file, this reader hands every row
on: a picture that is missing or changed is an outcome of its own in the score table, never a row less.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ecdd.dataset_governance.lineage_tags import LABELS, SCOPES
from ecdd.dataset_governance.manifest import ManifestError, manifest_path

_REQUIRED: Final = ("path", "label", "scope", "source")
_SHOWN: Final = 20


@dataclass(frozen=True)
class Listed:
    """One row of a manifest; ``sha256`` is what the manifest says, empty where it says nothing."""

    index: int
    path: str
    label: int | None
    scope: str
    source: str
    year: int | None
    platform: str | None
    device: str | None
    lineage: str | None
    sha256: str


@dataclass(frozen=True)
class Selection:
    """Which rows are meant.

    Attributes
    ----------
    tags : mapping of str to str
        Lineage by SHA-256, of a split; the manifest's own ``lineage`` column speaks for digests that are not in it.
    wanted : frozenset of str or None
        Tags that are meant; None takes every row.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    wanted: frozenset[str] | None = None

    def lineage(self, cells: dict[str, str]) -> str | None:
        """Tag of a row."""
        return self.tags.get((cells.get("sha256") or "").lower()) or cells.get("lineage") or None

    def takes(self, cells: dict[str, str]) -> bool:
        """Whether a row is meant."""
        return self.wanted is None or self.lineage(cells) in self.wanted


def stream(data: Path, selection: Selection = Selection()) -> Iterator[Listed]:
    """Yield the rows of a manifest that was checked by `check`.

    Parameters
    ----------
    data : Path
        Manifest, or its folder.
    selection : Selection
        Which rows.

    Yields
    ------
    Listed
        In the order of the file, ``index`` counting the selected rows from 0.
    """
    index = 0
    for _, cells in _cells(manifest_path(data)):
        if selection.takes(cells):
            yield _listed(index, cells, selection.lineage(cells))
            index += 1


def check(data: Path, selection: Selection = Selection()) -> tuple[int, str]:
    """Read a manifest once, before anything is scored.

    Returns
    -------
    tuple of (int, str)
        Selected rows, and the digest over every one of their cells in order.

    Raises
    ------
    ManifestError
        Cannot be read, a column is missing, no row is selected, or rows (the first 20 are named) have a wrong cell.
    """
    path = manifest_path(data)
    if not path.is_file():
        raise ManifestError([f"{path}: no such manifest; give a CSV file or a folder with manifest.csv"])
    problems: list[str] = []
    digest, count = hashlib.sha256(), 0
    for line, cells in _cells(path):
        problems += [f"{path.name}:{line}: {text}" for text in _problems(cells)]
        if len(problems) >= _SHOWN:
            raise ManifestError([*problems[:_SHOWN], "… and perhaps more"])
        if not problems and selection.takes(cells):
            digest.update(repr(_listed(count, cells, selection.lineage(cells))).encode("utf-8", "backslashreplace"))
            count += 1
    if not problems and not count:
        problems.append(f"{path.name}: no row is selected; nothing would be scored")
    if problems:
        raise ManifestError(problems)
    return count, digest.hexdigest()


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            header = tuple(reader.fieldnames or ())
            if not set(_REQUIRED) <= set(header):
                raise ManifestError([f"{path.name}: columns {list(header)}, needed are {list(_REQUIRED)}"])
            for cells in reader:
                yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError([f"{path.name}: cannot be read as a CSV file: {error.__class__.__name__}"]) from error


def _problems(cells: dict[str, str]) -> list[str]:
    if None in cells or None in cells.values():
        return ["not as many cells as the header"]
    found = []
    if cells["label"] not in LABELS:
        found.append(f"label {cells['label']!r}, allowed are 0 (real), 1 (fake) and empty")
    if cells["scope"] not in SCOPES:
        found.append(f"scope {cells['scope']!r}, allowed are {', '.join(SCOPES)}")
    if cells["scope"] == "face" and not cells["label"]:
        found.append("a picture in scope needs a label")
    year = cells.get("year") or ""
    if year and not year.isdigit():
        found.append(f"year {year!r} is not a number")
    return found + [f"no {column}" for column in ("path", "source") if not cells[column]]


def _listed(index: int, cells: dict[str, str], lineage: str | None) -> Listed:
    year = cells.get("year") or ""
    return Listed(
        index=index,
        path=cells["path"],
        label=int(cells["label"]) if cells["label"] else None,
        scope=cells["scope"],
        source=cells["source"],
        year=int(year) if year else None,
        platform=cells.get("platform") or None,
        device=cells.get("device") or None,
        lineage=lineage,
        sha256=(cells.get("sha256") or "").lower(),
    )
