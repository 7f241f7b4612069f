"""What an edge process does and nothing else: ``edge_process.py ours|litert MODEL SHA256 TENSOR``.

``ours`` goes through the runtime of this project, ``litert`` through LiteRT alone: the floor. Prints the mean logit.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np


def main() -> int:
    """Import, check the file's digest, load, predict once on one thread."""
    way, model, digest, tensor = sys.argv[1:]
    with open(model, "rb") as stream:  # noqa: PTH123 - an import less
        content = stream.read()
    if hashlib.sha256(content).hexdigest() != digest:
        return 1
    batch = np.load(tensor)
    if way == "ours":
        from ecdd.runtimes.tflite import TFLiteRuntime

        maps = TFLiteRuntime(content, threads=1, verified=True).patch_map(batch)
    else:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        maps = next(
            interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details() if len(one["shape"]) == 3
        )
    sys.stdout.write(repr(float(maps.mean(dtype=np.float64))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
