"""Everything the kernel sees happen in folders, by inotify: a proof that nothing was written, also not for a moment."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# create, modify, attributes, move in and out, delete; reading is no event
_EVENTS: Final = 0x100 | 0x2 | 0x4 | 0x40 | 0x80 | 0x200 | 0x400
_HEAD: Final = struct.Struct("iIII")


class FileWatch:
    """Watch folders, not the folders in them.

    Parameters
    ----------
    folders : sequence of Path
        Existing folders.

    Raises
    ------
    OSError
        The kernel has no inotify, or a folder is not there.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            raise OSError("no inotify on this system")
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for folder in folders:
            if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(folder), _EVENTS) < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {folder.name}")

    def events(self) -> list[str]:
        """Names of the files touched since the last call, one an event."""
        found = []
        while True:
            try:
                data = os.read(self._handle, 65536)
            except BlockingIOError:
                return found
            place = 0
            while place < len(data):
                _, mask, _, length = _HEAD.unpack_from(data, place)
                name = data[place + _HEAD.size : place + _HEAD.size + length].rstrip(b"\0").decode()
                found.append(f"{name or 'folder'} ({mask:#x})")
                place += _HEAD.size + length

    def close(self) -> None:
        """End the watch."""
        os.close(self._handle)
