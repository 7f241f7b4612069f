"""Patch-grid geometry composed from layers: receptive field, stride, padding and grid shape follow, none is stated.

The lists here are what the networks of `ecdd.models` are built from; they need no torch, so a contract or a bundle
can be compared with its architecture where no torch is installed. A convolution that is not listed is 1x1 at stride 1
and sees what its input sees; a shortcut of a residual block sees part of what the block's own path sees.

Composition after Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecdd.contract.schema import PolicyContract


@dataclass(frozen=True)
class Layer:
    """What one layer does to positions, the same along rows and columns.

    Attributes
    ----------
    name : str
        As in the network's ``state_dict``, without ``.weight``.
    kernel, stride, padding : int
        Pixels of its input.
    after : int, optional
        Padding behind the last pixel where it differs from that before the first: TensorFlow's SAME at stride 2.
    block : int
        Above 1: output y also reads the first pixel of its block of so many pixels, ``y - y % block``.
    """

    name: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    block: int = 1
    after: int | None = None


@dataclass(frozen=True)
class GridGeometry:
    """Composed geometry; named like the contract's ``patch_grid``, so either serves `ecdd.inference.patch_grid`.

    Attributes
    ----------
    rows, cols : int
        Cells.
    stride : int
        Pixels between neighbouring cells.
    receptive_field : int
        Side of a cell's box, px.
    padding : int
        How far the box of cell (0, 0) begins before pixel (0, 0).
    """

    rows: int
    cols: int
    stride: int
    receptive_field: int
    padding: int

    @property
    def box(self) -> tuple[int, int]:
        """As `ecdd.contract.model_sections.PatchGrid.box`."""
        return self.receptive_field, self.padding


def _lite_layers() -> tuple[Layer, ...]:
    """The depthwise kernels of EfficientNet-Lite0's first fifteen blocks behind its stem, SAME padding, even sides."""
    kernels = [(3, 2), (3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (3, 2), (3, 1), (3, 1), (5, 1), (5, 1), (5, 1)]
    kernels += [(5, 2), (5, 1), (5, 1), (5, 1)]
    names = ["stem", *(f"blocks.{depth}.depthwise" for depth in range(len(kernels) - 1))]
    return tuple(
        Layer(name, kernel, stride, padding=(kernel - stride) // 2, after=kernel // 2)
        for name, (kernel, stride) in zip(names, kernels, strict=True)
    )


# name of an architecture -> its layers behind the input operator, first to last
NETWORK_LAYERS: Final[dict[str, tuple[Layer, ...]]] = {
    "ladeda9": (
        Layer("conv2", kernel=3),
        Layer("layer1.0.conv2", kernel=3, stride=2),
        Layer("layer2.0.conv2", kernel=3, stride=2),
        Layer("layer3.0.conv2", stride=2),
    ),
    "tiny_ladeda": (
        Layer("conv2", kernel=3),
        Layer("layer1.0.conv2", kernel=3, stride=2),
        Layer("cells", kernel=3, stride=4),  # the mean over native cells
    ),
    "lite": _lite_layers(),
}
# the student's own map, before the mean over native cells
NATIVE_LAYERS: Final = {name: tuple(x for x in layers if x.name != "cells") for name, layers in NETWORK_LAYERS.items()}

# NPR subtracts the top-left pixel of each 2x2 block; the derivatives are 3x3 with one pixel of zeros around
_DERIVATIVE: Final = (Layer("operator", kernel=3, padding=1),)
_OPERATOR_LAYERS: Final[dict[str, tuple[Layer, ...]]] = {
    "raw": (),
    "NPR": (Layer("operator", block=2),),
    "x_grad": _DERIVATIVE,
    "y_grad": _DERIVATIVE,
    "left_diag": _DERIVATIVE,
    "right_diag": _DERIVATIVE,
}


def layers_of(architecture: str, input_operator: str, *, native: bool = False) -> tuple[Layer, ...]:
    """List the layers from the tensor to the map.

    Parameters
    ----------
    architecture : str
        ``ladeda9`` or ``tiny_ladeda``.
    input_operator : str
        Fixed operator in front.
    native : bool
        The map before the mean over native cells.

    Returns
    -------
    tuple of Layer
        First to last.

    Raises
    ------
    ValueError
        For a name that is not known.
    """
    if architecture not in NETWORK_LAYERS:
        msg = f"architecture {architecture!r} is not known; choose one of {', '.join(sorted(NETWORK_LAYERS))}"
        raise ValueError(msg)
    if input_operator not in _OPERATOR_LAYERS:
        msg = f"input_operator {input_operator!r} is not known; choose one of {', '.join(_OPERATOR_LAYERS)}"
        raise ValueError(msg)
    return _OPERATOR_LAYERS[input_operator] + (NATIVE_LAYERS if native else NETWORK_LAYERS)[architecture]


def compose(layers: Sequence[Layer], height: int, width: int) -> GridGeometry:
    """Compose layers into the geometry of their last output.

    Parameters
    ----------
    layers : sequence of Layer
        First to last.
    height, width : int
        Size of the tensor, px.

    Returns
    -------
    GridGeometry
        Exact as an upper bound: a pixel outside a cell's box never moves the cell, while a pixel inside may have no
        influence (with NPR the far corner of a 9x9 box that begins at even pixels is subtracted from itself).

    Raises
    ------
    ValueError
        If the tensor is too small for a layer, or cells of one layer read blocks of different phase.
    """
    first, end, jump = 0, 1, 1  # positions that cell 0 reads, and the step to cell 1, in the input of the layers so far
    for layer in reversed(layers):
        if layer.block > 1:
            if jump % layer.block:
                msg = f"layer {layer.name}: a step of {jump} px is no multiple of its block of {layer.block} px"
                raise ValueError(msg)
            first -= first % layer.block
        first = first * layer.stride - layer.padding
        end = (end - 1) * layer.stride - layer.padding + layer.kernel
        jump *= layer.stride
    rows, cols = (_cells(layers, side) for side in (height, width))
    return GridGeometry(rows, cols, stride=jump, receptive_field=end - first, padding=-first)


def _cells(layers: Sequence[Layer], side: int) -> int:
    for layer in layers:
        padded = side + layer.padding + (layer.padding if layer.after is None else layer.after)
        if padded < layer.kernel:
            msg = f"layer {layer.name}: {side} px are fewer than its kernel of {layer.kernel}; use a larger tensor"
            raise ValueError(msg)
        side = (padded - layer.kernel) // layer.stride + 1
    return side


def grid_mismatches(policy: PolicyContract, architecture: str) -> list[str]:
    """Compare the contract's ``patch_grid`` with what the architecture's layers compose to.

    Parameters
    ----------
    policy : PolicyContract
        ``patch_grid`` and ``pixel_pipeline.input_size``.
    architecture : str
        A name of `NETWORK_LAYERS`.

    Returns
    -------
    list of str
        One line a value that differs; empty when all agree.

    Raises
    ------
    ValueError
        For an unknown architecture, or a tensor that is too small for it.
    """
    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    composed = compose(layers_of(architecture, grid.input_operator), side, side)
    return [
        f"patch_grid.{name} is {getattr(grid, name)}, the layers of {architecture} behind {grid.input_operator} "
        f"at {side} px give {getattr(composed, name)}"
        for name in ("rows", "cols", "stride", "receptive_field", "padding")
        if getattr(grid, name) != getattr(composed, name)
    ]
