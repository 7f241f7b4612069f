"""Which input of a model file is the picture and which output the map, found by shape where no name is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecdd.runtimes.base import MAP_NAME, POOLED_NAME, ModelOutputs, RuntimeFileError
from ecdd.runtimes.model_interface import OPEN, ModelInterface, TensorFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.runtimes.base import Description, PatchRuntime

_PICTURE_DTYPES = ("float32", "int8", "int16")


@dataclass(frozen=True)
class TensorNames:
    """Names that the caller gives; an empty one is found by shape."""

    image: str = ""
    patch_map: str = ""
    pooled: str = ""


@dataclass(frozen=True)
class FoundLayout:
    """How a file lays out picture and map.

    Attributes
    ----------
    image, patch_map : TensorFacts
        As the file states them.
    pooled : TensorFacts or None
        None where the file gives the map alone.
    channels : {"first", "last"}
        Where the three colours are.
    height, width : int
        Of the input, px; `OPEN` where the file takes any.
    """

    image: TensorFacts
    patch_map: TensorFacts
    pooled: TensorFacts | None
    channels: Literal["first", "last"]
    height: int
    width: int


def find_layout(
    file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts], names: TensorNames
) -> FoundLayout:
    """Find picture, map and pooled logit.

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
    FoundLayout
        The one input (N, H, W, 3) or (N, 3, H, W); the one output (N, rows, cols), (N, rows, cols, 1) or (N, 1, rows,
        cols); the one output (N,) or (N, 1), if there is one. This project's own names for map and pooled logit win.

    Raises
    ------
    RuntimeFileError
        If there is none or more than one, a name is unknown, or the colours could be on either axis.
    """
    if len(inputs) != 1 and not names.image:
        raise RuntimeFileError(file, "one input, the picture", _listed(inputs))
    image = _named(file, inputs, names.image, "--input-name") if names.image else inputs[0]
    if len(inputs) != 1:
        raise RuntimeFileError(file, f"no input beside {image.name}", _listed(inputs))
    channels, height, width = _picture(file, image)
    maps = [one for one in outputs if _is_map(one)]
    if names.patch_map:
        chosen = _named(file, outputs, names.patch_map, "--map-name")
        maps = [chosen] if _is_map(chosen) else []
    elif len(maps) > 1:
        maps = [one for one in maps if one.name == MAP_NAME] or maps
    if len(maps) != 1:
        wanted = "one output (N, rows, cols), (N, rows, cols, 1) or (N, 1, rows, cols)"
        advice = f"{_listed(outputs)}; name the map with --map-name" if len(maps) > 1 else _listed(outputs)
        raise RuntimeFileError(file, wanted, advice)
    pooled = [one for one in outputs if one.name != maps[0].name and _is_pooled(one)]
    if names.pooled:
        pooled = [_named(file, outputs, names.pooled, "--pooled-name")]
        if not _is_pooled(pooled[0]):
            raise RuntimeFileError(file, f"{names.pooled} (N,) or (N, 1)", str(pooled[0]))
    elif len(pooled) > 1:
        pooled = [one for one in pooled if one.name == POOLED_NAME] or pooled
    if len(pooled) > 1:
        raise RuntimeFileError(
            file, "at most one output (N,) or (N, 1)", f"{_listed(pooled)}; name it with --pooled-name"
        )
    return FoundLayout(image, maps[0], pooled[0] if pooled else None, channels, height, width)


def _picture(file: str, image: TensorFacts) -> tuple[Literal["first", "last"], int, int]:
    wanted = f"a picture (N, H, W, 3) or (N, 3, H, W) of {', '.join(_PICTURE_DTYPES)}, N open or 1"
    shape = image.shape
    if len(shape) != 4 or shape[0] not in {OPEN, 1} or image.dtype not in _PICTURE_DTYPES:
        raise RuntimeFileError(file, wanted, str(image))
    first, last = shape[1] == 3, shape[3] == 3
    if first == last:
        raise RuntimeFileError(file, wanted, f"{image}: {'either axis' if first else 'neither axis'} has three colours")
    return ("first", *shape[2:4]) if first else ("last", *shape[1:3])


def _is_map(tensor: TensorFacts) -> bool:
    """Whether it has rows and columns, more than one of either where they are stated."""
    shape = tensor.shape
    if len(shape) == 4:
        if shape[1] == 1:
            shape = (shape[0], *shape[2:])
        elif shape[3] == 1:
            shape = shape[:3]
    return len(shape) == 3 and all(side == OPEN or side > 1 for side in shape[1:]) and shape[0] in {OPEN, 1}


def _is_pooled(tensor: TensorFacts) -> bool:
    return tensor.shape in {(OPEN,), (1,), (OPEN, 1), (1, 1)}


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
    found : list of FoundLayout
        Filled by `select` with the one layout.
    """

    names: TensorNames = TensorNames()
    found: list[FoundLayout] = field(default_factory=list)

    def select(
        self, file: str, inputs: Sequence[TensorFacts], outputs: Sequence[TensorFacts]
    ) -> tuple[int, int, int | None]:
        """Find input, map and pooled logit by shape; as `ModelInterface.select` otherwise."""
        layout = find_layout(file, inputs, outputs, self.names)
        for tensor in (layout.image, layout.patch_map, layout.pooled):
            if tensor is not None and tensor.dtype != "float32":
                problem = "no scale" if tensor.quantisation is None else tensor.quantisation.problem()
                if problem:
                    raise RuntimeFileError(file, f"{tensor.name} of float32, or int8 or int16 with a scale", problem)
        self.found[:] = [layout]
        pooled = None if layout.pooled is None else outputs.index(layout.pooled)
        return inputs.index(layout.image), outputs.index(layout.patch_map), pooled


class LaidOutRuntime:
    """A runtime of any layout behind this project's: pictures NHWC in, maps (N, rows, cols) out.

    Parameters
    ----------
    runtime : PatchRuntime
        Opened with a `FoundInterface`.
    layout : FoundLayout
        What that found.
    """

    def __init__(self, runtime: PatchRuntime, layout: FoundLayout) -> None:
        self._runtime, self._layout = runtime, layout

    def native(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a batch (N, H, W, 3) to the file's own layout."""
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if self._layout.channels == "first" else batch

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute maps and, where the file pools, pooled logits; shapes as in `ModelOutputs`."""
        found = self._runtime.outputs(self.native(batch))
        maps = np.asarray(found.maps)
        if maps.ndim == 4:
            maps = maps[:, 0] if self._layout.patch_map.shape[1] == 1 else maps[..., 0]
        pooled = None if found.pooled is None else found.pooled.reshape(len(batch))
        return ModelOutputs(np.ascontiguousarray(maps), pooled)

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute maps alone."""
        return self.outputs(batch).maps

    def describe(self) -> Description:
        """All that can change a number, and how the file lays out its pictures."""
        about: dict[str, Any] = {**self._runtime.describe(), "channels": self._layout.channels}
        return about
