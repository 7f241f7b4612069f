"""The malformed corpus on disk: at least 300 files, folders and other things that a path may name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gates.support.hostile_files import bombs, metadata_files, odd_files
from gates.support.malformed_files import DECODED, Outcome, damaged_files, only, structural_files, valid_files

_UNREADABLE: Final = only(("IO-010",))


@dataclass(frozen=True)
class CorpusFile:
    """One path of the corpus.

    Attributes
    ----------
    name : str
        What it is, printable; the file's name on disk may not be.
    path : Path
        Where it lies. May name a folder, a pipe, or nothing at all.
    outcomes : frozenset of tuple of str, or None
        Outcomes of `decode` that are right: reason codes of a rejection, or the empty tuple for a decoded picture.
        None: any of both.
    """

    name: str
    path: Path
    outcomes: frozenset[Outcome] | None

    def allows(self, outcome: Outcome) -> bool:
        """Whether this outcome of decoding is right."""
        return self.outcomes is None or outcome in self.outcomes


def build_corpus(folder: Path) -> list[CorpusFile]:
    """Write the corpus; the same files, byte for byte, on every call.

    Parameters
    ----------
    folder : Path
        An existing folder; should be empty.

    Returns
    -------
    list of CorpusFile
        In the order they were written.
    """
    corpus = []
    for entries in (damaged_files(), structural_files(), bombs(), metadata_files(), odd_files()):
        for name, content, outcomes in entries:
            path = folder / name
            path.write_bytes(content)
            corpus.append(CorpusFile(name, path, outcomes))
    corpus += _odd_names(folder) + _not_files(folder)
    assert len({file.name for file in corpus}) == len(corpus), "two corpus files of one name"
    return corpus


def _odd_names(folder: Path) -> list[CorpusFile]:
    content = valid_files()["baseline.jpg"]
    names = {
        "name not UTF-8": b"caf\xe9 \xff\xfe.jpg",
        "name with newline": b"two\nlines.jpg",
        "name with escape sequence": b"\x1b[31mred.jpg",
        "name with quotes": b"a'b\"c`$(d).jpg",
        "name like an option": b"--help.jpg",
        "name like markup": b"[bold]x[/nothing].jpg",
        "name in other script": "Gesicht \u00e4\u00f6\u00fc \u8138 \U0001f642.jpg".encode(),
        "name of 255 bytes": b"n" * 251 + b".jpg",
        "hidden name": b".jpg",
        "name ending in a dot": b"dot.",
    }
    made = []
    for label, raw in names.items():
        path = folder / os.fsdecode(raw)
        try:
            path.write_bytes(content)
        except OSError:  # a file system that allows UTF-8 names only
            continue
        made.append(CorpusFile(label, path, only(DECODED)))
    return made


def _not_files(folder: Path) -> list[CorpusFile]:
    directory = folder / "directory.jpg"
    directory.mkdir()
    missing = folder / "missing.jpg"
    paths = {"directory": directory, "missing file": missing, "file below a file": folder / "zero_bytes" / "x.jpg"}
    paths["name too long"] = folder / ("n" * 300 + ".jpg")
    paths["name with a zero byte"] = folder / "zero\0byte.jpg"
    loop, dangling = folder / "loop.jpg", folder / "dangling.jpg"
    loop.symlink_to(loop)
    dangling.symlink_to(missing)
    paths |= {"link to itself": loop, "link to nothing": dangling}
    if hasattr(os, "mkfifo"):
        paths["named pipe"] = folder / "pipe.jpg"
        os.mkfifo(paths["named pipe"])
    made = [CorpusFile(label, path, _UNREADABLE) for label, path in paths.items()]
    forbidden = folder / "forbidden.jpg"
    forbidden.write_bytes(valid_files()["baseline.jpg"])
    forbidden.chmod(0)
    # a user who may read everything reads it none the less
    readable = os.access(forbidden, os.R_OK)
    made.append(CorpusFile("file without permission", forbidden, only(DECODED) if readable else _UNREADABLE))
    huge = folder / "huge.jpg"
    with huge.open("wb") as handle:
        handle.truncate(2**31)
    made.append(CorpusFile("sparse file of 2 GiB", huge, only(("IO-003",))))
    return made
