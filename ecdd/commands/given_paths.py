"""Paths of pictures that a command was given: what cannot be a picture is a wrong call, before any work is begun."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from ecdd.errors import EcddError, ListedError
from ecdd.pipeline.picture_input import Named

STDIN: Final = Path("-")
_URL: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+")


def refuse_missing(paths: Sequence[Path]) -> None:
    """Refuse addresses and paths where nothing lies, all in one message.

    Raises
    ------
    ListedError
        With one line for each.
    """
    problems = []
    for path in paths:
        if path == STDIN or path.exists():
            continue
        address = _URL.match(str(path))
        if address:
            url = _URL.sub(rf"{address[1]}://", str(path))
            problems.append(f"{url}: an address; nothing is fetched: download it, or curl {url} | ecdd predict -")
        else:
            problems.append(f"{path}: no such file or folder")
    if problems:
        raise ListedError(problems)


def collect(paths: Sequence[Path], patterns: Sequence[str], max_bytes: int) -> tuple[list[Path | Named], int]:
    """List the pictures that are meant.

    Parameters
    ----------
    paths : sequence of Path
        Files, folders, and ``-`` for standard input.
    patterns : sequence of str
        Of the files in folders only those whose path ends so; all without any.
    max_bytes : int
        Of standard input, one byte more than this is read at most.

    Returns
    -------
    list of Path or Named
        In the order given, folders sorted.
    int
        Hidden files and folders that were left out.

    Raises
    ------
    EcddError
        Nothing lies at a path, or a folder has no such file.
    """
    from ecdd.batch import find_files

    refuse_missing(paths)
    found: list[Path | Named] = []
    hidden = 0
    for path in paths:
        if path == STDIN:
            found.append(Named(sys.stdin.buffer.read(max_bytes + 1), "-"))
            continue
        files, left_out = find_files([path])
        if path.is_dir():
            files = [one for one in files if not patterns or _matches(one.relative_to(path), patterns)]
            if not files:
                matching = f" that matches {' or '.join(patterns)}" if patterns else ""
                raise EcddError(f"{path}: a folder without any file{matching}; {left_out} hidden ones are left out")
        found += files
        hidden += left_out
    return found, hidden


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(PurePosixPath(path.as_posix()).match(pattern) for pattern in patterns)
