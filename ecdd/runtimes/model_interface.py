"""What a caller needs of a model file's inputs and outputs, and the check that a file has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ecdd.runtimes.base import INPUT_NAME, MAP_NAME, POOLED_NAME, RuntimeFileError
from ecdd.runtimes.integer_io import INTEGERS, AffineQuantisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OPEN: Final = -1  # a dimension that the file leaves open


@dataclass(frozen=True)
class TensorFacts:
    """One input or output of a file.

    Attributes
    ----------
    name, dtype : str
        As the file has them.
    shape : tuple of int
        `OPEN` where any number will do.
    quantisation : AffineQuantisation or None
        None of a float tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantisation: AffineQuantisation | None = None

    def holds(self, shape: tuple[int, ...], pictures: int) -> bool:
        """Whether an array of a shape is this tensor for so many pictures; a file can state another one."""
        sides = (pictures, *self.shape[1:])
        return len(shape) == len(sides) and all(want in {OPEN, have} for want, have in zip(sides, shape, strict=True))

    def __str__(self) -> str:
        sides = ", ".join("any" if side == OPEN else str(side) for side in self.shape)
        return f"{self.name} {self.dtype} ({sides})" + (f" {self.quantisation}" if self.quantisation else "")


@dataclass(frozen=True)
class ModelInterface:
    """The inputs and outputs that a file must have.

    Attributes
    ----------
    side, rows, cols : int or None
        Of the input, px, and of the map, cells; None where any will do.
    input_name, map_name, pooled_name : str
        Names; other ones only for files made elsewhere.
    """

    side: int | None = None
    rows: int | None = None
    cols: int | None = None
    input_name: str = INPUT_NAME
    map_name: str = MAP_NAME
    pooled_name: str = POOLED_NAME

    def select(
        self, file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]
    ) -> tuple[int, int, int | None]:
        """Find input, map and pooled logit among a file's inputs and outputs, by name.

        Parameters
        ----------
        file : str
            For the message.
        inputs, outputs : sequence of TensorFacts
            All of the file, in its order.

        Returns
        -------
        tuple of (int, int, int or None)
            Position of the input, of the map, and of the pooled logit; None where the file has none.

        Raises
        ------
        RuntimeFileError
            For another number, name, shape, dtype or quantisation.
        """
        shape = f"(N, {_shown(self.side, 'S')}, {_shown(self.side, 'S')}, 3)"
        wanted = f"one input {self.input_name} of float32, int8 or int16 {shape}"
        if len(inputs) != 1 or inputs[0].name != self.input_name:
            raise RuntimeFileError(file, wanted, _listed(inputs))
        sides = (None, self.side, self.side, 3)
        if not _fits(inputs[0], sides):
            raise RuntimeFileError(file, wanted, _listed(inputs))
        grid = f"(N, {_shown(self.rows, 'rows')}, {_shown(self.cols, 'cols')})"
        wanted = f"outputs {self.map_name} {grid} and, if it is there, {self.pooled_name} (N,)"
        places = {tensor.name: place for place, tensor in enumerate(outputs)}
        known = {self.map_name: (None, self.rows, self.cols), self.pooled_name: (None,)}
        complete = len(places) == len(outputs) and self.map_name in places and places.keys() <= known.keys()
        if not complete or not all(_fits(tensor, known[tensor.name]) for tensor in outputs):
            raise RuntimeFileError(file, wanted, _listed(outputs))
        for tensor in (*inputs, *outputs):
            _check_quantisation(file, tensor)
        return 0, places[self.map_name], places.get(self.pooled_name)


def check_batch(batch: NDArray[Any], needed: TensorFacts) -> None:
    """Refuse a batch that a runtime would convert or misread.

    Parameters
    ----------
    batch : ndarray
        What the caller gives.
    needed : TensorFacts
        The file's input.

    Raises
    ------
    ValueError
        For another dtype or shape, or an empty batch.
    """
    if batch.dtype != np.float32 or not batch.ndim or not len(batch) or not needed.holds(batch.shape, len(batch)):
        msg = f"the batch is {batch.dtype} {batch.shape}, needed is float32 for {needed}, one picture or more"
        raise ValueError(msg)


def check_answer(file: str, stated: TensorFacts, tensor: NDArray[Any], pictures: int) -> None:
    """Refuse an output of another shape than the file states; libraries take that statement on trust.

    Raises
    ------
    RuntimeFileError
        Naming both shapes.
    """
    if not stated.holds(tensor.shape, pictures):
        raise RuntimeFileError(file, f"for {pictures} pictures {stated}", f"shape {tensor.shape}")


def _fits(tensor: TensorFacts, sides: tuple[int | None, ...]) -> bool:
    """Whether shape and dtype are as needed; a fixed batch can only be 1, which is then computed one by one."""
    if len(tensor.shape) != len(sides) or tensor.dtype not in {"float32", *INTEGERS}:
        return False
    batch = tensor.shape[0] in {OPEN, 1}
    return batch and all(want is None or have in {OPEN, want} for want, have in zip(sides, tensor.shape, strict=True))


def _check_quantisation(file: str, tensor: TensorFacts) -> None:
    if tensor.dtype not in INTEGERS:
        return
    problem = "no scale" if tensor.quantisation is None else tensor.quantisation.problem()
    if problem:
        raise RuntimeFileError(file, f"{tensor.name} with one scale above 0 and a zero point of its dtype", problem)


def _shown(value: int | None, word: str) -> str:
    return word if value is None else str(value)


def _listed(tensors: Sequence[TensorFacts]) -> str:
    return "; ".join(str(tensor) for tensor in tensors) or "none"
