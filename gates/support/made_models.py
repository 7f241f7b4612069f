"""Small TFLite files with known answers, written table by table: the map is every eighth pixel of the first colour.

Nothing in them computes, so every number that comes out shows what happened at the boundary of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from ecdd.runtimes.base import INPUT_NAME, MAP_NAME, POOLED_NAME
from ecdd.runtimes.integer_io import AffineQuantisation

STEP, SIDE, CELLS = 8, 256, 31
_OPERATORS = schema.BuiltinOperator
_TYPES = {name: getattr(schema.TensorType, name.upper()) for name in ("float32", "int8", "int16", "int32", "uint8")}


def seen(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels of a batch (N, SIDE, SIDE, 3) that become its maps, (N, CELLS, CELLS), as a view of it."""
    return batch[:, : STEP * CELLS : STEP, : STEP * CELLS : STEP, 0]


@dataclass(frozen=True)
class MadeModel:
    """What is written into the file.

    Attributes
    ----------
    given, answered : AffineQuantisation or None
        Of input and map; float32 where None.
    inside : bool
        Float input and output, and LiteRT's own QUANTIZE and DEQUANTIZE between them and the integers.
    side, channels, batch : int
        Shape of the input; batch -1 is any.
    dtype : str
        Of input and map where nothing is quantised.
    names : tuple of str
        Of input and outputs in the signature; one more than the file has outputs.
    inputs : int
        How many.
    """

    given: AffineQuantisation | None = None
    answered: AffineQuantisation | None = None
    inside: bool = False
    side: int = SIDE
    channels: int = 3
    batch: int = -1
    dtype: str = "float32"
    names: tuple[str, ...] = (INPUT_NAME, MAP_NAME)
    inputs: int = 1
    signature: bool = True

    def content(self) -> bytes:
        """The file."""
        return _Writer(self).content()


def with_pooled(**changes: Any) -> MadeModel:
    """A model with both outputs; the pooled logit is the first cell."""
    return MadeModel(**{"names": (INPUT_NAME, MAP_NAME, POOLED_NAME), **changes})


class _Writer:
    def __init__(self, made: MadeModel) -> None:
        self.made = made
        self.buffers: list[Any] = [_made("BufferT")]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[tuple[int, int]] = []

    def content(self) -> bytes:
        made, cells = self.made, (self.made.side - STEP) // STEP
        image, grid = (made.side, made.side, made.channels), (cells, cells)
        floats = made.inside or made.given is None
        inputs = [self._tensor("given", image, None if floats else made.given) for _ in range(made.inputs)]
        source = inputs[0]
        if made.inside:
            source = self._step(_OPERATORS.QUANTIZE, source, "integers", image, made.given)
        outputs = [self._slice(source, "map", grid, made.answered)]
        if len(made.names) > 2:
            outputs.append(self._slice(source, "pooled", (), made.answered))
        if made.inside:
            outputs = [self._step(_OPERATORS.DEQUANTIZE, outputs[0], "numbers", grid, None)]
        return self._finish(inputs, outputs)

    def _tensor(self, name: str, shape: tuple[int, ...], quantisation: AffineQuantisation | None) -> int:
        batch = self.made.batch
        dtype = self.made.dtype if quantisation is None else quantisation.dtype
        sides, signature = np.array([abs(batch), *shape], np.int32), np.array([batch, *shape], np.int32)
        tensor = _made("TensorT", name=name, shape=sides, shapeSignature=signature, type=_TYPES[dtype], buffer=0)
        if quantisation is not None:
            scale, point = np.array([quantisation.scale], np.float32), np.array([quantisation.zero_point], np.int64)
            tensor.quantization = _made("QuantizationParametersT", scale=scale, zeroPoint=point)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _constant(self, values: list[int]) -> int:
        self.buffers.append(_made("BufferT", data=np.array(values, np.int32).view(np.uint8)))
        shape = np.array([len(values)], np.int32)
        tensor = _made("TensorT", name=f"constant{len(self.buffers)}", shape=shape, type=_TYPES["int32"])
        tensor.buffer = len(self.buffers) - 1
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _slice(self, source: int, name: str, grid: tuple[int, ...], quantisation: AffineQuantisation | None) -> int:
        """Every eighth pixel of the first colour; with no grid the first pixel alone."""
        end = STEP * grid[0] if grid else 1
        bounds = [self._constant(values) for values in ([0, 0, 0, 0], [0, end, end, 1], [1, STEP, STEP, 1])]
        out = self._tensor(name, grid, quantisation)
        operator = self._operator(_OPERATORS.STRIDED_SLICE, [source, *bounds], out)
        operator.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
        shrink = 0b1000 if grid else 0b1110
        operator.builtinOptions = _made("StridedSliceOptionsT", beginMask=1, endMask=1, shrinkAxisMask=shrink)
        return out

    def _step(
        self, code: int, source: int, name: str, shape: tuple[int, ...], quantisation: AffineQuantisation | None
    ) -> int:
        out = self._tensor(name, shape, quantisation)
        self._operator(code, [source], out)
        return out

    def _operator(self, code: int, inputs: list[int], out: int) -> Any:
        known = (code, 4 if code == _OPERATORS.STRIDED_SLICE else 3 if code == _OPERATORS.DEQUANTIZE else 2)
        if known not in self.codes:
            self.codes.append(known)
        self.operators.append(_made("OperatorT", opcodeIndex=self.codes.index(known), inputs=inputs, outputs=[out]))
        return self.operators[-1]

    def _finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = _made("SubGraphT", name="main", tensors=self.tensors, inputs=inputs, outputs=outputs)
        graph.operators = self.operators
        codes = [
            _made("OperatorCodeT", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)
            for code, version in self.codes
        ]
        model = _made("ModelT", version=3, description="made", buffers=self.buffers, operatorCodes=codes)
        model.subgraphs = [graph]
        if self.made.signature:
            names = [self.made.names[0], *(f"more{k}" for k in range(1, len(inputs)))]
            given = [_made("TensorMapT", name=name, tensorIndex=k) for name, k in zip(names, inputs, strict=True)]
            answered = zip(self.made.names[1:], outputs, strict=True)
            maps = [_made("TensorMapT", name=name, tensorIndex=index) for name, index in answered]
            model.signatureDefs = [
                _made("SignatureDefT", inputs=given, outputs=maps, signatureKey="serving_default", subgraphIndex=0)
            ]
        builder = flatbuffers.Builder(4096)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _made(kind: str, /, **values: Any) -> Any:
    """An object of the schema with its fields set; a name that the schema does not have is an error."""
    made = getattr(schema, kind)()
    for key, value in values.items():
        if not hasattr(made, key):
            raise AttributeError(f"{kind} has no {key}")
        setattr(made, key, value)
    return made
