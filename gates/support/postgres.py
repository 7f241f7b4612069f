"""A PostgreSQL server for the tests: Debian's binaries, an unprivileged user, a Unix socket, no network."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BINARIES = Path("/usr/lib/postgresql")
_USERS = ("postgres", "nobody")


class NoServerError(Exception):
    """The server's binaries are missing or it does not start."""


def binaries() -> Path:
    """Folder of the newest installed server."""
    found = [path for path in _BINARIES.glob("*/bin") if (path / "initdb").exists() and (path / "postgres").exists()]
    if not found:
        msg = f"no server under {_BINARIES}; apt-get install postgresql"
        raise NoServerError(msg)
    return max(found, key=lambda path: int(path.parent.name))


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Make a cluster in a temporary folder and run it; the URL of its database.

    Yields
    ------
    str
        ``postgresql://…``, over a socket in that folder.

    Raises
    ------
    NoServerError
        No binaries, or the server said why it does not start.
    """
    folder, where = Path(tempfile.mkdtemp(prefix="ecdd-pg-")), binaries()
    as_user: dict[str, Any] = {"cwd": folder}  # a working folder that the other user may enter
    owner = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:  # the server refuses to run as root
        account = next(pwd.getpwnam(name) for name in _USERS if _exists(name))
        as_user |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
        owner = account.pw_name
    data = folder / "data"
    try:
        _run([where / "initdb", "-D", data, "-A", "trust", "-U", owner, "-E", "UTF8", "--no-sync"], as_user)
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        _run(
            [where / "pg_ctl", "-D", data, "-l", folder / "server.log", "-o", options, "-w", "-t", "60", "start"],
            as_user,
        )
        yield f"postgresql://{owner}@/postgres?host={folder}"
    finally:
        if (data / "postmaster.pid").exists():
            _run([where / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], as_user)
        shutil.rmtree(folder, ignore_errors=True)


def _exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def _run(command: list[Any], as_user: dict[str, Any]) -> None:
    # the server inherits what is open; a pipe would never end, so its words go to a file
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run([str(part) for part in command], stdout=said, stderr=said, check=False, **as_user)
        said.seek(0)
        if done.returncode:
            msg = f"{Path(str(command[0])).name}: exit code {done.returncode}: {said.read()[-500:]}"
            raise NoServerError(msg)
