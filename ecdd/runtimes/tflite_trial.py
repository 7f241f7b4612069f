"""Load and run the TFLite file on standard input: ``python -m ecdd.runtimes.tflite_trial xnnpack|none``.

Its end tells `tflite_file.try_in_own_process` whether the file can be trusted in the caller's process, and what it
prints how much memory the file took.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from ecdd.runtimes.tflite_file import REFUSED, TRIAL_BYTES


def main() -> int:
    """0 when the file was loaded and run, `REFUSED` with the reason when LiteRT refused it."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    _limit_memory()
    before = _resident_bytes()
    resolver = OpResolverType.AUTO if sys.argv[1] == "xnnpack" else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    content = sys.stdin.buffer.read()
    try:
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        for one in interpreter.get_input_details():
            interpreter.set_tensor(one["index"], np.zeros(one["shape"], one["dtype"]))
        interpreter.invoke()
    except (ValueError, RuntimeError, MemoryError) as error:
        sys.stdout.write((str(error).strip().splitlines() or [type(error).__name__])[0][:200])
        return REFUSED
    sys.stdout.write(str(max(0, _resident_bytes() - before)))
    return 0


def _resident_bytes() -> int:
    """Memory that this process holds now; 0 where the system does not say."""
    said = Path("/proc/self/statm")
    return int(said.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if said.is_file() else 0


def _limit_memory() -> None:
    """A shape that was changed can ask for all the memory of the machine."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > TRIAL_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (TRIAL_BYTES, hard))


if __name__ == "__main__":
    sys.exit(main())
