"""Files of a review store: sealed records, a lock, and an audit trail without content.

Every step holds the lock, so several processes are safe. A record is written whole or not at all. Deleting writes its
line first: whatever a crash leaves behind is finished by the next step (`recover`).
"""

from __future__ import annotations

import datetime
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ecdd.dataset_governance.hash_chain import ChainError, HashChain
from ecdd.dataset_governance.review_error import ReviewError
from ecdd.files import sync_folder, write_bytes

Event = Literal["stored", "labelled", "opt_out", "purged", "rekeyed", "refused", "recovered"]
DELETIONS: Final = ("opt_out", "purged")
_SUFFIX: Final = ".sealed"
_CHUNK: Final = 2**20


@dataclass(frozen=True)
class TrailLine:
    """One step: when, what, and of which item; never a picture, a verdict or a name."""

    when: datetime.datetime
    event: str
    id: str
    why: str


class ReviewFolder:
    """A folder with ``items/*.sealed``, ``trail.jsonl`` and its head; nothing is made before the first `locked`.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items = path / "items"
        self.chain = HashChain(path / "trail.jsonl")

    @contextmanager
    def locked(self, *, make: bool = False) -> Iterator[None]:
        """Hold the store's lock, with whatever a crash left behind put right first.

        Parameters
        ----------
        make : bool
            Make the folder; otherwise a folder that is not there is an error.

        Raises
        ------
        ReviewError
            No store, a full disk, or a trail that was edited.
        """
        if not make and not self.items.is_dir():
            raise ReviewError("unknown_item", f"{self.path.name}: no review store, or nothing was ever stored in it")
        try:
            self.items.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)
            with (self.path / "lock").open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if make and not self.ids():
                    self.note(datetime.datetime.now(datetime.UTC), "stored", ())  # the trail is there before any record
                self.recover()
                yield
        except OSError as error:
            raise disk_error(error) from error

    def ids(self) -> list[str]:
        """Ids of the stored records, sorted."""
        return sorted(path.stem for path in self.items.glob(f"[0-9a-f]*{_SUFFIX}"))

    def record(self, item_id: str) -> Path:
        """File of a record; an id that is none is unknown, so no path can be made up."""
        if len(item_id) != 32 or set(item_id) - set("0123456789abcdef"):
            raise ReviewError("unknown_item", f"{item_id[:40]!r}: not the id of a review item")
        return self.items / f"{item_id}{_SUFFIX}"

    def write(self, item_id: str, content: bytes) -> None:
        """Write a record whole or not at all, readable by the owner alone."""
        write_bytes(self.record(item_id), content, mode=0o600, durable=True)

    def trail(self) -> list[TrailLine]:
        """The audit trail, checked from its first line; it is begun before the first record."""
        if not self.chain.head_path.is_file() and (ids := self.ids()):
            name = self.chain.path.name
            raise ReviewError("trail_broken", f"{name}: missing beside {len(ids)} records; restore it from a copy")
        try:
            return [_line(entry) for entry in self.chain.read()]
        except ChainError as error:
            raise chain_error(error) from error

    def note(self, when: datetime.datetime, event: Event, ids: Sequence[str] = ("",), why: str = "") -> None:
        """Append a line an id to the audit trail, all or none."""
        stamp = when.strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            self.chain.append([{"when": stamp, "event": event, "id": item_id, "why": why} for item_id in ids])
        except ChainError as error:
            raise chain_error(error) from error

    def erase(self, item_id: str) -> None:
        """Overwrite a record with noise and remove it.

        Overwriting reaches the old blocks only where the file system writes in place: not on copy-on-write file
        systems, snapshots, backups or flash. What stays there is ciphertext; change the key to make it unreadable.
        """
        path = self.record(item_id)
        with suppress(OSError), path.open("r+b", buffering=0) as stream:
            left = os.fstat(stream.fileno()).st_size
            while left > 0:
                left -= stream.write(secrets.token_bytes(min(left, _CHUNK))) or 0
            os.fsync(stream.fileno())
        path.unlink(missing_ok=True)
        sync_folder(self.items)

    def recover(self) -> None:
        """Finish what a crash interrupted: half-written files, deletions without end, records without a line."""
        for stray in (*self.items.glob(".*"), *self.path.glob(".*.head.*")):
            stray.unlink(missing_ok=True)
        trail = self.trail()
        gone = {line.id for line in trail if line.event in DELETIONS}
        stored = {line.id for line in trail if line.event in ("stored", "recovered")}
        untold = [item_id for item_id in self.ids() if item_id not in gone | stored]
        if len(untold) > 1:  # a crash leaves one: every step begins here
            detail = f"{len(untold)} records have no line: lines were removed; restore it from a copy"
            raise ReviewError("trail_broken", f"{self.chain.path.name}: {detail}")
        for item_id in self.ids():
            if item_id in gone:
                self.erase(item_id)
            elif item_id in untold:
                when = datetime.datetime.fromtimestamp(self.record(item_id).stat().st_mtime, datetime.UTC)
                self.note(when, "recovered", [item_id], "stored just before a crash")

    def stored_at(self) -> dict[str, datetime.datetime]:
        """When each item was stored, by the trail: the key is not needed, and no header can be believed without it."""
        return {line.id: line.when for line in self.trail() if line.event in ("stored", "recovered")}


def _line(entry: Mapping[str, Any]) -> TrailLine:
    try:
        when = datetime.datetime.fromisoformat(entry["when"])
        return TrailLine(when, str(entry["event"]), str(entry["id"]), str(entry["why"]))
    except (KeyError, ValueError, TypeError) as error:
        raise ReviewError("trail_broken", "trail.jsonl: a line is none of an audit trail") from error


def chain_error(error: Exception) -> ReviewError:
    """A broken chain, or the disk behind it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    return ReviewError("trail_broken" if cause is None else "disk", str(error))


def disk_error(error: OSError) -> ReviewError:
    """A full or broken disk: nothing was stored, nothing is lost."""
    return ReviewError("disk", f"the review store cannot be written ({error.strerror}); nothing was stored or lost")
