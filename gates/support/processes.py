"""Whole processes, timed and weighed by the operating system's own account."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1e6
# A child begins with the peak memory of the process that forked it, so the one that is measured is the child of a
# process that is smaller than it: a bare interpreter, which also takes the time.
LAUNCHER = """
import os, sys, time
start = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=sys.stderr)
"""


@dataclass(frozen=True)
class Finished:
    """A process that ended well: wall seconds, peak resident megabytes, and what it printed."""

    seconds: float
    megabytes: float
    output: str


def keeping_compiled(folder: Path) -> dict[str, str]:
    """The caller's environment, but with compiled modules kept, as in an installed package; warm-up compiles them."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder)}


def launch(arguments: list[str], environment: dict[str, str]) -> Finished:
    """Run this interpreter with arguments, in a process of its own; an error where that fails."""
    command = [sys.executable, *arguments]
    launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launched, capture_output=True, check=True, env=environment, text=True)
    wall, kibibytes, code = done.stderr.splitlines()[-1].split()
    assert code == "0", f"{' '.join(command)} ended with {code}: {done.stderr}"
    return Finished(float(wall), int(kibibytes) * 1024 / MEGABYTE, done.stdout)
