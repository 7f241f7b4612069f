"""Peak memory of this process, of a part of its life."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Largest resident memory of this process since it began, or since `forget_peak`."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a started process begins with what the process that started it had
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> int:
    """Give back what is free and begin to measure anew (Linux); gives the memory of now in bytes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_bytes()
