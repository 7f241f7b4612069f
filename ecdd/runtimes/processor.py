"""What of the processor can change a number: kernels are chosen by it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Final

# The instruction sets between which XNNPACK, ONNX Runtime and torch choose on x86-64 and on Arm.
FLAGS: Final = (
    *("sse4_1", "avx", "f16c", "fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_fp16", "amx_int8"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "sve2"),
)
_LONGEST: Final = 2**16


@cache
def processor() -> str:
    """Machine and those of its instruction sets that kernels are chosen by.

    Returns
    -------
    str
        For example ``"x86_64 avx avx2 f16c fma sse4_1"``; the machine alone where the system does not tell.
    """
    words: set[str] = set()
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as stream:
            for line in iter(lambda: stream.readline(_LONGEST), ""):
                key, _, value = line.partition(":")
                if key.strip() in {"flags", "Features"}:
                    words = set(value.split())
                    break  # one core speaks for all
    except OSError:
        pass
    return " ".join([platform.machine(), *sorted(words.intersection(FLAGS))])
