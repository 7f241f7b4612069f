"""Atomic writing: a reader sees the old file or the new one, never half of one; what ``--out`` may be; text."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from ecdd.errors import EcddError

_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2}


class OutputError(EcddError, OSError):
    """An output that cannot be written; ``filename`` is what the user named, ``strerror`` says why and what to do."""

    def __str__(self) -> str:
        """Name the output first, as every message does."""
        return f"{self.filename}: {self.strerror}"


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
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = str(path)  # a full disk names no file, and nobody knows the temporary one
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


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a JSON file; `EcddError` naming the file where it is none, or nested too deeply."""
    return parse_json(read_text(path), path)


def read_yaml(path: Path) -> Any:  # noqa: ANN401
    """Read a YAML file; `EcddError` naming the file where it is none, nested too deeply, or repeats lists by alias."""
    import yaml
    from yaml.composer import Composer

    # libyaml's scanner is nine times as fast; its composer would end the process on deep nesting
    scanner = getattr(yaml, "CSafeLoader", None)

    class Plain(*((Composer, scanner) if scanner else (yaml.SafeLoader,))):  # type: ignore[misc]
        def __init__(self, text: str) -> None:
            (scanner or yaml.SafeLoader).__init__(self, text)
            Composer.__init__(self)

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            repeated = self.check_event(yaml.AliasEvent)
            node: yaml.Node | None = super().compose_node(parent, index)
            if repeated and isinstance(node, yaml.CollectionNode):  # a few of these are more than any memory holds
                raise yaml.YAMLError("an alias of a list or a mapping; write it out")
            return node

    return _parsed(read_text(path), lambda text: yaml.load(text, Plain), "YAML", path)  # noqa: S506 - a safe loader


def parse_json(content: str | bytes, where: Path | str) -> Any:  # noqa: ANN401
    """Parse JSON that was read already: a line of a file, or bytes that were hashed; `EcddError` naming ``where``."""
    return _parsed(content, json.loads, "JSON", where)


def _parsed(content: str | bytes, parse: Callable[[str], Any], kind: str, where: Path | str) -> Any:  # noqa: ANN401
    try:
        return parse(content if isinstance(content, str) else content.decode())
    except RecursionError:
        raise EcddError(f"{where}: nested too deeply to be read as {kind}") from None
    except Exception as error:  # noqa: BLE001 - PyYAML meets wrong tags with whatever they run into
        raise EcddError(f"{where}: not {kind} ({' '.join(str(error).split())[:300]})") from None


def spreadsheet_cell(value: object) -> str:
    """Text of a CSV cell that no spreadsheet takes for a formula; `plain_cell` gives the text back.

    Parameters
    ----------
    value : object
        None is an empty cell.

    Returns
    -------
    str
        Numbers as they are; a text that begins like a formula behind an apostrophe, which spreadsheets do not show.

    Examples
    --------
    >>> spreadsheet_cell("=1+1"), spreadsheet_cell(-1.5), spreadsheet_cell("it's")
    ("'=1+1", '-1.5', "it's")
    """
    text = "" if value is None else str(value)
    if not text.lstrip("'").startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def plain_cell(text: str) -> str:
    """Text that `spreadsheet_cell` made a cell of."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's names: what was renamed or deleted in it stays so after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_output(path: Path, inputs: Iterable[Path] = (), *, regular: bool = False) -> None:
    """Refuse an output that would replace what is read; call it before work that takes long.

    Parameters
    ----------
    path : Path
        What ``--out`` names.
    inputs : iterable of Path
        Files that are read, and folders of which any file may be read.
    regular : bool
        Refuse devices, pipes and standard output too: something else is written beside the output.

    Raises
    ------
    OutputError
        It is a folder, one of the inputs, or a file in a folder of them.
    """
    if regular and _is_special(path):
        raise OutputError(errno.EINVAL, "is no file; name one, for more is written beside it", str(path))
    if path.is_dir():
        raise OutputError(errno.EISDIR, "is a folder; name a file", str(path))
    if not path.exists():
        return
    target = path.resolve()
    for given in inputs:
        if given.is_dir():
            if target.is_relative_to(given.resolve()):
                raise OutputError(errno.EEXIST, f"lies in the input {given}; choose another output", str(path))
        elif given.exists() and given.samefile(path):
            raise OutputError(errno.EEXIST, f"is the input {given}; choose another output", str(path))


@contextlib.contextmanager
def open_output(
    path: Path, *, inputs: Iterable[Path] = (), mode: int = 0o644, keep_lines: bool = False
) -> Iterator[BinaryIO]:
    """Open what ``--out`` names; every command does it here.

    A file gets its name when all is written, under a temporary name that no other writer has. A link is followed, not
    replaced. A device, a pipe or standard output is written to directly.

    Parameters
    ----------
    path : Path
        The output.
    inputs : iterable of Path
        See `check_output`.
    mode : int
        Permissions of a file.
    keep_lines : bool
        When the system refuses to write on, for example on a full disk, keep the whole lines that were written in a
        file beside the output, and name it in the error. Otherwise nothing is left behind.

    Yields
    ------
    BinaryIO
        For the content, from its start.

    Raises
    ------
    OutputError
        See `check_output`; or writing ended early.
    OSError
        The folder is missing or may not be written.
    """
    check_output(path, inputs)
    if _is_special(path):
        with io.BufferedWriter(_Named(_open_special(path), str(path))) as stream:
            yield stream
        return
    target = path.resolve()
    if not target.parent.is_dir():
        raise OutputError(errno.ENOENT, "its folder does not exist", str(path))
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial = Path(temporary)
    try:
        with io.BufferedWriter(_Named(handle, str(path))) as stream:
            yield stream
        partial.chmod(mode)
        partial.replace(target)
    except OSError as error:
        kept = _kept(partial, target) if keep_lines else ""
        partial.unlink(missing_ok=True)
        raise OutputError(error.errno, f"{error.strerror or error}{kept}", error.filename or str(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_output(path: Path, data: bytes, *, inputs: Iterable[Path] = (), mode: int = 0o644) -> None:
    """Write the whole content of what ``--out`` names; its folder is made when missing, the rest as `open_output`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_output(path, inputs=inputs, mode=mode) as stream:
        stream.write(data)


class _Named(io.FileIO):
    """A file whose refusal to be written names the file; the system's own names none."""

    def __init__(self, descriptor: int, shown: str) -> None:
        super().__init__(descriptor, "wb")
        self._shown = shown

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            error.filename = self._shown
            raise


def _descriptor(path: Path) -> int | None:
    """Number of the open file that a name such as ``/dev/stdout`` stands for."""
    name = os.path.abspath(path)  # noqa: PTH100 - resolving would follow /dev/stdout to the file behind it
    found = _DESCRIPTOR.fullmatch(name)
    return int(found[1]) if found else _STANDARD.get(name)


def _is_special(path: Path) -> bool:
    """Whether an output is a device, a pipe or an open file: something that cannot be replaced by a file."""
    if _descriptor(path) is not None:
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _open_special(path: Path) -> int:
    number = _descriptor(path)
    try:
        return os.open(path, os.O_WRONLY) if number is None else os.dup(number)
    except OSError as error:
        raise OutputError(error.errno, error.strerror, str(path)) from None


def _kept(partial: Path, target: Path) -> str:
    """Keep the whole lines of a file that could not be finished, and say where; empty where there is none."""
    content = partial.read_bytes()
    end = content.rfind(b"\n") + 1
    if not end:
        return ""
    os.truncate(partial, end)
    lines = content.count(b"\n")
    kept = target.with_name(f"{target.name}.incomplete{partial.suffix}")
    partial.rename(kept)
    return f"; the first {lines} lines are kept in {kept}"
