"""Append-only JSON lines in which every line carries the digest of all lines before it.

No line can be changed, removed or exchanged without breaking the chain; a file beside it holds count and digest of the
last line, so that lines missing at the end are noticed too. Whoever may write both files can write another history, or
none: keep the digest of the last line elsewhere, and give it to `lost_heads`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from ecdd.errors import EcddError
from ecdd.files import parse_json, read_json, write_bytes

_START: Final = ""
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")


class ChainError(EcddError):
    """A chain that was edited or truncated, or that cannot be read or written."""


class HashChain:
    """One chain; several processes may read and append at the same time.

    Parameters
    ----------
    path : Path
        JSON lines; the head is the file of the same name with the suffix ``.head``. Made by the first `append`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_suffix(".head")

    def read(self) -> list[dict[str, Any]]:
        """All entries, checked from the first line to the head.

        Returns
        -------
        list of dict
            Empty where neither the chain nor its head exists.

        Raises
        ------
        ChainError
            Naming the first line that is not as it was written, or how many lines are missing.
        """
        if not self.path.is_file() and not self.head_path.is_file():
            return []
        try:
            with self.path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH)
                return self._checked(stream)[0]
        except OSError as error:
            raise self._unusable(error) from error

    def links(self) -> list[str]:
        """Digest after each line; the last is the one to keep elsewhere."""
        found = [_START]
        for entry in self.read():
            found.append(_link(found[-1], entry))
        return found[1:]

    def digest(self) -> str:
        """Digest of the last line, to be kept elsewhere; empty for an empty chain."""
        return (self.links() or [_START])[-1]

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append entries, all or none.

        Parameters
        ----------
        entries : sequence of mapping
            JSON values; the key ``sha256`` is the chain's own.

        Raises
        ------
        ChainError
            The chain is broken, or the disk is full: then nothing was appended.
        """
        with self._locked() as stream:
            kept, previous, end = self._checked(stream)
            content = b""
            for entry in entries:
                previous = _link(previous, entry)
                content += _line({**entry, "sha256": previous})
            try:
                stream.truncate(end)  # a line that a crash left half-written was never committed
                stream.seek(end)
                _write_all(stream, content)
                os.fsync(stream.fileno())
                self._write_head(len(kept) + len(entries), previous)
            except BaseException:
                stream.truncate(end)
                raise

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # unbuffered: what could not be written must not be written again when the file is closed
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "rb+", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if os.fstat(stream.fileno()).st_size == 0 and not self.head_path.is_file():
                    self._write_head(0, _START)
                yield stream
        except OSError as error:
            raise self._unusable(error) from error

    def _write_head(self, lines: int, digest: str) -> None:
        write_bytes(self.head_path, _line({"lines": lines, "sha256": digest}), durable=True)

    def _unusable(self, error: OSError) -> ChainError:
        return ChainError(f"{self.path.name}: cannot be read or written ({error.strerror}); nothing was changed")

    def _checked(self, stream: BinaryIO) -> tuple[list[dict[str, Any]], str, int]:
        """Entries, digest of the last line, and where the last whole line ends (bytes)."""
        stream.seek(0)
        data = stream.read()
        end = data.rfind(b"\n") + 1
        previous = _START
        entries: list[dict[str, Any]] = []
        if not data and not self.head_path.is_file():  # just made: the head comes before the first line
            return entries, previous, 0
        promised, head = self._read_head()
        for number, line in enumerate(data[:end].splitlines(), start=1):
            entry, digest = self._entry(number, line)
            if digest != _link(previous, entry):
                raise ChainError(f"{self.path.name} line {number}: edited, removed or exchanged")
            previous = digest
            entries.append(entry)
            if number == promised and digest != head:
                raise ChainError(f"{self.path.name} line {number}: not the line that {self.head_path.name} ends with")
        if len(entries) < promised:
            raise ChainError(
                f"{self.path.name}: {len(entries)} lines, {self.head_path.name} says {promised}: "
                f"{promised - len(entries)} are missing at the end; restore both files from a copy"
            )
        return entries, previous, end

    def _entry(self, number: int, line: bytes) -> tuple[dict[str, Any], str]:
        try:
            entry = parse_json(line, self.path)
            return entry, str(entry.pop("sha256"))
        except (EcddError, KeyError, AttributeError, TypeError) as error:
            raise ChainError(f"{self.path.name} line {number}: not a line of a chain") from error

    def _read_head(self) -> tuple[int, str]:
        if not self.head_path.is_file():
            raise ChainError(
                f"{self.head_path.name}: missing; without it lines could have been cut off {self.path.name}"
            )
        try:
            head = read_json(self.head_path)
            return int(head["lines"]), str(head["sha256"])
        except (EcddError, ValueError, KeyError, TypeError) as error:
            raise ChainError(f"{self.head_path.name}: not the head of a chain; restore it from a copy") from error


def lost_heads(kept: Sequence[str], chains: Sequence[HashChain]) -> list[str]:
    """Digests that were kept elsewhere and that no chain leads through: it was rewritten, cut, or begun anew.

    Parameters
    ----------
    kept : sequence of str
        Digests of last lines, as they were printed.
    chains : sequence of HashChain
        Where each may be from; they may have grown since.

    Returns
    -------
    list of str
        One finding a digest.

    Raises
    ------
    ChainError
        A digest is none, or a chain is broken.
    """
    if wrong := [head for head in kept if not _DIGEST.fullmatch(head)]:
        raise ChainError(f"--head {wrong[0][:80]}: not the digest of a line, 64 hexadecimal digits are needed")
    links = {link for chain in chains for link in chain.links()} if kept else set()
    names = ", ".join(chain.path.name for chain in chains)
    return [
        f"head {head[:16]} is of no line of {names}: lines were rewritten or deleted; restore it from a copy"
        for head in kept
        if head.lower() not in links
    ]


def _write_all(stream: BinaryIO, content: bytes) -> None:
    """Write everything or raise: a nearly full disk takes a part first, and says so only the next time."""
    left = memoryview(content)
    while left:
        left = left[stream.write(left) :]


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n").encode(
        errors="surrogatepass"
    )


def _link(previous: str, entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(previous.encode() + _line(entry)).hexdigest()
