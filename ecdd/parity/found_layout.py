"""Which input of a model file is the picture and which output decides, found where no contract says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ecdd.runtimes.base import MAP_NAME, POOLED_NAME, ModelOutputs, RuntimeFileError
from ecdd.runtimes.integer_io import INTEGERS
from ecdd.runtimes.model_interface import OPEN, Chosen, ModelInterface, TensorFacts, numbers_of_a_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PICTURE_DTYPES = ("float32", *INTEGERS)


@dataclass(frozen=True)
class TensorNames:
    """Names that the caller gives; an empty one is found by shape."""

    image: str = ""
    patch_map: str = ""
    pooled: str = ""


def find_interface(
    file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts], names: TensorNames
) -> ModelInterface:
    """Find picture, map and the output that decides.

    Parameters
    ----------
    file : str
        For messages.
    inputs, outputs : sequence of TensorFacts
        All of the file.
    names : TensorNames
        Decide where they are given.

    Returns
    -------
    ModelInterface
        The one input (N, H, W, 3) or (N, 3, H, W). What decides is the output with the fewest numbers a picture: one,
        or one a class, of which the last counts as fake. Only in a file without such an output a tensor is taken for
        the map by its shape: (N, rows, cols), (N, rows, cols, 1) or (N, 1, rows, cols).

    Raises
    ------
    RuntimeFileError
        If there is none or more than one, a name is unknown, or the colours could be on either axis.
    """
    if len(inputs) != 1:
        raise RuntimeFileError(file, "one input, the picture", _listed(inputs))
    image = _named(file, inputs, names.image, "--input-name") if names.image else inputs[0]
    layout = picture_layout(file, image)
    patch_map = _map_by_name(file, outputs, names.patch_map)
    decider = _decider(file, [one for one in outputs if one is not patch_map], names.pooled)
    if patch_map is None and decider is None:
        patch_map = _map_by_shape(file, outputs)
    numbers = 0 if decider is None else numbers_of_a_picture(decider)
    found = ModelInterface(
        input_name=image.name,
        map_name="" if patch_map is None else patch_map.name,
        pooled_name="" if decider is None else decider.name,
        layout=layout,
        ignored=tuple(one.name for one in outputs if one not in (patch_map, decider)),
    )
    if numbers > 1:
        return replace(found, kind="class_logits", classes=numbers, fake=numbers - 1)
    return found if patch_map is not None else replace(found, kind="logit")


def picture_layout(file: str, image: TensorFacts) -> Literal["NHWC", "NCHW"]:
    """Where the three colours of a picture are.

    Raises
    ------
    RuntimeFileError
        If it is no picture, or could be either.
    """
    wanted = f"a picture (N, H, W, 3) or (N, 3, H, W) of {', '.join(_PICTURE_DTYPES)}, N open or 1"
    shape = image.shape
    if len(shape) != 4 or shape[0] not in {OPEN, 1} or image.dtype not in _PICTURE_DTYPES:
        raise RuntimeFileError(file, wanted, str(image))
    first, last = shape[1] == 3, shape[3] == 3
    if first == last:
        raise RuntimeFileError(file, wanted, f"{image}: {'either axis' if first else 'neither axis'} has three colours")
    return "NCHW" if first else "NHWC"


def _map_by_name(file: str, outputs: Sequence[TensorFacts], name: str) -> TensorFacts | None:
    if not name:
        return next((one for one in outputs if one.name == MAP_NAME and _is_map(one)), None)
    chosen = _named(file, outputs, name, "--map-name")
    if not _is_map(chosen):
        raise RuntimeFileError(file, f"{name} (N, rows, cols), (N, rows, cols, 1) or (N, 1, rows, cols)", str(chosen))
    return chosen


def _decider(file: str, outputs: Sequence[TensorFacts], name: str) -> TensorFacts | None:
    if name:
        chosen = _named(file, outputs, name, "--pooled-name")
        if not numbers_of_a_picture(chosen):
            raise RuntimeFileError(file, f"{name} with one number a picture or one a class", str(chosen))
        return chosen
    rows = sorted((one for one in outputs if numbers_of_a_picture(one)), key=numbers_of_a_picture)
    least = [one for one in rows if numbers_of_a_picture(one) == numbers_of_a_picture(rows[0])]
    least = [one for one in least if one.name == POOLED_NAME] or least
    if len(least) > 1:
        wanted = "one output that decides"
        raise RuntimeFileError(file, wanted, f"{_listed(least)}; name it with --pooled-name, or give --contract")
    return least[0] if least else None


def _map_by_shape(file: str, outputs: Sequence[TensorFacts]) -> TensorFacts:
    maps = [one for one in outputs if _is_map(one)]
    if len(maps) != 1:
        wanted = "an output of one number a picture, one a class, or one map (N, rows, cols)"
        advice = f"{_listed(outputs)}; name the map with --map-name" if maps else _listed(outputs)
        raise RuntimeFileError(file, wanted, advice)
    return maps[0]


def _is_map(tensor: TensorFacts) -> bool:
    """Whether it has rows and columns, more than one of either where they are stated."""
    shape = tensor.shape
    if len(shape) == 4:
        if shape[1] == 1:
            shape = (shape[0], *shape[2:])
        elif shape[3] == 1:
            shape = shape[:3]
    return len(shape) == 3 and all(side == OPEN or side > 1 for side in shape[1:]) and shape[0] in {OPEN, 1}


def _named(file: str, tensors: Sequence[TensorFacts], name: str, option: str) -> TensorFacts:
    for tensor in tensors:
        if tensor.name == name:
            return tensor
    raise RuntimeFileError(file, f"a tensor {name} ({option})", _listed(tensors))


def _listed(tensors: Sequence[TensorFacts]) -> str:
    return "; ".join(str(tensor) for tensor in tensors) or "none"


@dataclass(frozen=True)
class FoundInterface(ModelInterface):
    """An interface that takes inputs and outputs as they are and remembers how they lie.

    Attributes
    ----------
    names : TensorNames
        What the caller named.
    found : list of ModelInterface
        Filled by `select` with the one that fits.
    """

    input_name: str = ""
    names: TensorNames = TensorNames()
    found: list[ModelInterface] = field(default_factory=list)

    @property
    def ignored_by_contract(self) -> tuple[str, ...]:
        """None: nobody declared what this file's outputs are for."""
        return ()

    def select(self, file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]) -> Chosen:
        """Find input and outputs by shape; checks as in `ModelInterface.select`."""
        self.found[:] = [find_interface(file, inputs, outputs, self.names)]
        return self.found[0].select(file, inputs, outputs)

    def native(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the interface that was found."""
        return self.found[0].native(batch)

    def answer(self, file: str, chosen: Chosen, found: Mapping[str, NDArray[np.float32]]) -> ModelOutputs:
        """As the interface that was found."""
        return self.found[0].answer(file, chosen, found)
