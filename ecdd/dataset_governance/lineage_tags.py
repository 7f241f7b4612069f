"""Lineage tags and the split file that gives every picture exactly one (E8.3)."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ecdd.errors import ListedError
from ecdd.files import plain_cell, spreadsheet_cell, write_output

SPLIT_COLUMNS: Final = ("sha256", "lineage", "near_duplicate_group", "identity", "label", "scope", "source")
_SHA256: Final = re.compile("[0-9a-f]{64}")
SCOPES: Final = ("face", "ood")
LABELS: Final = ("0", "1", "")


class LineageTag(StrEnum):
    """What a picture may be used for; it never changes back."""

    TRAIN = "TRAIN"
    CALIBRATION = "CALIBRATION"
    AUDIT = "AUDIT"
    TEST_NEVER_TOUCH = "TEST-NEVER-TOUCH"


class LineageError(ListedError):
    """Every violation of the lineage rules, one a line."""


@dataclass(frozen=True)
class SplitRow:
    """One picture of the split.

    Attributes
    ----------
    sha256 : str
        Digest of the file; the key.
    lineage : LineageTag
        Its only tag.
    near_duplicate_group : str
        Digest of the group's smallest member; a group never straddles tags.
    identity : str
        Person, or ``"unknown"``: then the near-duplicate group stands for it.
    label : {"0", "1", ""}
        Real, fake, or no label (out of scope).
    scope : str
        ``"face"`` or ``"ood"``.
    source : str
        Where it comes from.
    """

    sha256: str
    lineage: LineageTag
    near_duplicate_group: str
    identity: str
    label: str
    scope: str
    source: str


@dataclass(frozen=True)
class DataSplit:
    """The split file.

    Attributes
    ----------
    rows : mapping of str to SplitRow
        By SHA-256.
    digest : str
        SHA-256 of the file's rows in sorted order.
    """

    rows: Mapping[str, SplitRow]
    digest: str

    def rows_with(self, tags: Iterable[LineageTag]) -> list[SplitRow]:
        """Rows with one of the tags, sorted by SHA-256."""
        wanted = frozenset(tags)
        return [self.rows[key] for key in sorted(self.rows) if self.rows[key].lineage in wanted]


def split_digest(rows: Iterable[SplitRow]) -> str:
    """SHA-256 over the rows, sorted, so that the order in the file does not matter."""
    lines = sorted(",".join(_cells(row)) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _cells(row: SplitRow) -> tuple[str, ...]:
    return tuple(str(getattr(row, column)) for column in SPLIT_COLUMNS)


def write_split(rows: Iterable[SplitRow], path: Path) -> None:
    """Write the split sorted by SHA-256, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SPLIT_COLUMNS)
    writer.writerows(map(spreadsheet_cell, _cells(row)) for row in sorted(rows, key=lambda row: row.sha256))
    write_output(path, text.getvalue().encode())


def load_split(path: Path) -> DataSplit:
    """Load and check a split file.

    Parameters
    ----------
    path : Path
        CSV with the columns `SPLIT_COLUMNS`.

    Returns
    -------
    DataSplit
        Rows by digest.

    Raises
    ------
    LineageError
        Naming every line with a missing column, an unknown tag, a bad digest or label, or a digest met twice.
    """
    problems: list[str] = []
    rows: dict[str, SplitRow] = {}
    for line, cells in read_table(path, SPLIT_COLUMNS, exactly=True):
        found = _row_problems(cells)
        if cells["sha256"] in rows:
            found.append(f"sha256 {cells['sha256'][:12]} stands twice")
        if found:
            problems += [f"{path.name}:{line}: {text}" for text in found]
            continue
        values = {column: plain_cell(cells[column]) for column in SPLIT_COLUMNS if column != "lineage"}
        rows[cells["sha256"]] = SplitRow(lineage=LineageTag(cells["lineage"]), **values)
    if not rows and not problems:
        problems.append(f"{path.name}: no rows")
    if problems:
        raise LineageError(problems)
    return DataSplit(rows=rows, digest=split_digest(rows.values()))


def read_table(
    path: Path, columns: tuple[str, ...], *, exactly: bool, ragged: list[str] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV whose every row has a cell in every column.

    Parameters
    ----------
    path : Path
        UTF-8 CSV with a header.
    columns : tuple of str
        Columns that must be there.
    exactly : bool
        No other column, and in this order.
    ragged : list of str, optional
        Takes a line for every row with too few or too many cells, which is then left out of the result.

    Returns
    -------
    list of (int, dict of str to str)
        Line number, from 2, and cells by column.

    Raises
    ------
    LineageError
        Naming the file that cannot be read, the header that differs, or every row with too few or too many cells.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            header = tuple(reader.fieldnames or ())
            lines = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LineageError([f"{path.name}: cannot be read as a CSV file: {error.__class__.__name__}"]) from error
    if (header != columns) if exactly else not set(columns) <= set(header):
        raise LineageError([f"{path.name}: columns {list(header)}, expected {list(columns)}"])
    bad = {line for line, cells in lines if None in cells or None in cells.values()}
    problems = [f"{path.name}:{line}: not {len(header)} cells like the header" for line in sorted(bad)]
    if problems and ragged is None:
        raise LineageError(problems)
    if ragged is not None:
        ragged += problems
    return [(line, cells) for line, cells in lines if line not in bad]


def _row_problems(cells: Mapping[str, str]) -> list[str]:
    found = []
    if not _SHA256.fullmatch(cells["sha256"]):
        found.append(f"sha256 {cells['sha256']!r} is not 64 lower-case hexadecimal digits")
    if cells["lineage"] not in LineageTag.__members__.values():
        found.append(f"lineage {cells['lineage']!r}, allowed are {', '.join(LineageTag)}")
    if cells["label"] not in LABELS:
        found.append(f"label {cells['label']!r}, allowed are 0, 1 and empty")
    if cells["scope"] not in SCOPES:
        found.append(f"scope {cells['scope']!r}, allowed are {', '.join(SCOPES)}")
    empty = [column for column in ("near_duplicate_group", "identity", "source") if not cells[column]]
    return found + [f"no {column}" for column in empty]
