"""What is checked of a TFLite file that no digest vouches for.

LiteRT verifies the bounds of a file before it reads it. Of 27 662 files with one byte changed one crashed it (no graph)
and two took it over ten seconds (an inner shape 5000 times as large); of some 14 000 with one word changed seven
crashed it (an operator without its input or output). What crashed it is looked for here; and since more may, a file
from elsewhere is first loaded and run in a process of its own, with limits to time and memory, so that what ends that
process is refused without harm. Where the weights alone were changed nothing shows here; a bundle's digests do.
"""

from __future__ import annotations

import math
import signal
import struct
import subprocess
import sys
from typing import Final

from ecdd.runtimes.base import RuntimeFileError

TRIAL_SECONDS: Final = 60.0
TRIAL_BYTES: Final = 8 * 2**30  # of address space; a full teacher takes less than a quarter
REFUSED: Final = 3


def try_in_own_process(file: str, content: bytes, *, xnnpack: bool, seconds: float = TRIAL_SECONDS) -> int:
    """Load a file and run it on zeros in another process.

    Parameters
    ----------
    file : str
        For the message.
    content : bytes
        Given to the process as it is, so that what was tried is what is used.
    xnnpack : bool
        Whether the XNNPACK delegate computes.
    seconds : float
        Limit.

    Returns
    -------
    int
        Bytes by which that process grew: file, weights as its kernels hold them, and tensors; 0 where the system does
        not say.

    Raises
    ------
    RuntimeFileError
        If LiteRT refuses the file, or the process dies of it or does not end. A file that LiteRT can load may still
        fail to run where its input is not the one that is needed; that is left to the check of inputs and outputs.
    """
    expected = "a TFLite file that LiteRT loads and runs"
    command = [sys.executable, "-m", "ecdd.runtimes.tflite_trial", "xnnpack" if xnnpack else "none"]
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeFileError(file, expected, f"one that did not end within {seconds:g} s") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise RuntimeFileError(file, expected, f"one that kills the process that runs it ({name})")
    if done.returncode == REFUSED:
        said = done.stdout.decode("utf-8", "replace").strip()
        custom = "custom op" in said or "TensorFlow op" in said
        advice = "; convert it with built-in operators only" if custom else ""
        raise RuntimeFileError(file, expected, said + advice)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeFileError(
            file, expected, f"a trial that ended with {done.returncode}: {''.join(lines[-1:])[:200]}"
        )
    return int(done.stdout or 0)


def check_graph(file: str, content: bytes) -> None:
    """Refuse a file without a graph: LiteRT crashes on it.

    Parameters
    ----------
    file : str
        For the message.
    content : bytes
        Whatever begins like a TFLite file.

    Raises
    ------
    RuntimeFileError
        If it is cut off before its tables, or has no graph, operator or buffer.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(content, 0)
        found = (model.SubgraphsLength(), model.OperatorCodesLength(), model.BuffersLength())
    except (struct.error, IndexError, ValueError, TypeError, OverflowError):
        raise RuntimeFileError(
            file, "a whole TFLite file", f"one cut off or damaged, of {len(content)} bytes"
        ) from None
    if not all(found):
        said = "{} graphs, {} operator codes, {} buffers".format(*found)
        raise RuntimeFileError(file, "a TFLite file with a graph", said)


def check_tables(file: str, content: bytes) -> None:
    """Refuse what LiteRT loads and should not: a scale that is not above 0, an operator without what it works on.

    Parameters
    ----------
    file : str
        For the message.
    content : bytes
        A file that LiteRT has loaded, so that its offsets are known to lie inside it.

    Raises
    ------
    RuntimeFileError
        Naming the tensor or the operator.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for tensor in (graph.Tensors(index) for index in range(graph.TensorsLength())):
            quantisation = tensor.Quantization()
            for place in range(0 if quantisation is None else quantisation.ScaleLength()):
                scale = float(quantisation.Scale(place))
                if not (math.isfinite(scale) and scale > 0):
                    name = (tensor.Name() or b"").decode("utf-8", "replace")
                    raise RuntimeFileError(file, "scales above 0", f"scale {scale:g} of tensor {name!r}")
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            # -1 leaves an input out. Only later ones may be, such as a bias; LiteRT follows the first two unasked.
            left_out = [
                f"input {place}" for place in range(min(2, operator.InputsLength())) if operator.Inputs(place) < 0
            ]
            left_out += [f"output {place}" for place in range(operator.OutputsLength()) if operator.Outputs(place) < 0]
            if left_out:
                found = f"operator {index} without its {left_out[0]}"
                raise RuntimeFileError(file, "operators with the inputs and outputs that they need", found)
