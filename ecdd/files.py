"""Atomic writing: a reader sees the old file or the new one, never half of one. Reading of text that may be none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ecdd.errors import EcddError


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Write a file atomically: temporary file in the same folder, then rename.

    Parameters
    ----------
    path : Path
        Target; its folder is made when missing.
    data : bytes
        Content.
    mode : int
        Permissions; no other user can read the temporary file either.
    durable : bool
        Wait until the disk has it: a power cut then leaves the old file or the new one too.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, with line ends as they are in the text.

    Parameters
    ----------
    path : Path
        Target.
    text : str
        Content.
    """
    write_bytes(path, text.encode())


def read_text(path: Path) -> str:
    """Read a UTF-8 text file that a user named.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        Its content.

    Raises
    ------
    EcddError
        If it is no UTF-8 text.
    OSError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8; a text file is needed"
        raise EcddError(msg) from None


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's names: what was renamed or deleted in it stays so after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
