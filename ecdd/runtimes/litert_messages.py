"""LiteRT writes from native code that it made a delegate; whoever judges a picture did not ask."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Final

_UNASKED: Final = b"INFO: "
_ONE_AT_A_TIME: Final = threading.Lock()
_HEARD: Final[list[bytes]] = []


@contextlib.contextmanager
def without_information() -> Iterator[None]:
    """Leave out what a library writes to standard error as information; warnings and errors are written at the end.

    The whole process writes into a temporary file meanwhile, so that only the making of an interpreter belongs inside.
    """
    if _HEARD:  # LiteRT says it once a process
        yield
        return
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
            stack.callback(os.close, kept)
            caught = stack.enter_context(tempfile.TemporaryFile())
            sys.stderr.flush()
            os.dup2(caught.fileno(), 2)
        except (OSError, AttributeError, ValueError):  # there is no standard error, or no place for a file
            yield
            return
        try:
            yield
        finally:
            os.dup2(kept, 2)
            caught.seek(0)
            for line in caught:
                if line.startswith(_UNASKED):
                    _HEARD.append(line)
                else:
                    os.write(2, line)
