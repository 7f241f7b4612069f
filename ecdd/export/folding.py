"""Fold a network into plain convolutions: the one description that both exported files are built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ecdd.contract.layer_geometry import GridGeometry
from ecdd.export.export_error import ExportError
from ecdd.export.quantised_file import ISLANDS, OPERATOR
from ecdd.models.gradients import operator_kernel
from ecdd.models.ladeda import Bottleneck, LaDeDa9
from ecdd.models.lite import BLOCKS, HEADS, STRIDE, InvertedResidual, Lite, SameConv
from ecdd.models.patch_network import PatchNetwork
from ecdd.models.tiny_ladeda import TinyLaDeDa

Array = NDArray[np.float64]
INTEGERS_FROM = 11  # block of lite
IMAGE = "image"  # S4, or NPR of it where `FoldedNetwork.npr` says so


@dataclass(frozen=True, eq=False)
class FoldedConv:
    """One convolution with its bias.

    Attributes
    ----------
    name, source : str
        Its output, and the output that it reads (`IMAGE` or a step before it).
    kernel : ndarray, float64, (height, width, in, out)
        Weights.
    bias : ndarray, float64, (out,)
        Bias.
    stride, padding : int
        Pixels of its input; zeros are padded on all four sides.
    relu : bool
        Whether negative outputs become 0.
    ceiling : float, optional
        What larger outputs become (ReLU6); only with ``relu``.
    same : bool
        TensorFlow's SAME padding in place of ``padding``.
    depthwise : bool
        Every channel has a kernel of its own: (height, width, channels, 1).
    """

    name: str
    source: str
    kernel: Array
    bias: Array
    stride: int = 1
    padding: int = 0
    relu: bool = True
    ceiling: float | None = None
    same: bool = False
    depthwise: bool = False

    def pads(self) -> tuple[int, int]:
        """Zeros before the first and behind the last pixel; SAME is meant for sides that the stride divides."""
        if not self.same:
            return self.padding, self.padding
        total = max(self.kernel.shape[0] - self.stride, 0)
        return total // 2, total - total // 2


@dataclass(frozen=True)
class FoldedSum:
    """Sum of a block's path and its shortcut, then ReLU where it has one.

    Attributes
    ----------
    name, path, shortcut : str
        Its output, and what it adds.
    crop : int
        So many last rows and columns of the shortcut are left out: its top left corner lies on the path's.
    relu : bool
        Whether negative sums become 0.
    """

    name: str
    path: str
    shortcut: str
    crop: int
    relu: bool = True


@dataclass(frozen=True)
class FoldedNetwork:
    """A network from S4 to its patch-logit map.

    Attributes
    ----------
    architecture : str
        Name.
    npr : bool
        The first step reads the unscaled NPR of S4 instead of S4.
    steps : tuple
        First to last; the last one's single channel is the map.
    model : PatchNetwork
        Where it came from.
    operator_gain : tuple of 3 floats
        Factor on NPR by colour (`in_levels`).
    islands : tuple of str
        Layers that stay float in modes that compute with integers, where nothing else is asked for.
    """

    architecture: str
    npr: bool
    steps: tuple[FoldedConv | FoldedSum, ...]
    model: PatchNetwork
    operator_gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    islands: tuple[str, ...] = ISLANDS

    def geometry(self, height: int, width: int) -> GridGeometry:
        """Compose the grid for a tensor of this size, px."""
        return self.model.geometry(height, width)


def fold(model: PatchNetwork) -> FoldedNetwork:
    """Fold convolutions, batch norms, operator scale, head and cell mean, in float64.

    Of teacher and student the second convolution follows the first without anything between them, so both are one 3x3
    convolution; the student's head and cell mean commute because both are linear and come after the last ReLU, and so
    do the heads of lite and their means.

    Parameters
    ----------
    model : PatchNetwork
        In evaluation mode (batch statistics cannot be folded).

    Returns
    -------
    FoldedNetwork
        Same function as the model, up to rounding.

    Raises
    ------
    ExportError
        If the model is in training mode, or its architecture has no folding.
    """
    if model.training:
        msg = "the model is in training mode: batch norm would use batch statistics; call eval() before export"
        raise ExportError(msg)
    steps: list[FoldedConv | FoldedSum] = []
    source, scale = IMAGE, model.operator_scale
    if model.input_operator not in {"NPR", "raw"}:  # at the border zeros are padded: not one with what follows
        kernel = np.einsum("hw,io->hwio", operator_kernel(model.input_operator), np.eye(3)) * scale
        steps.append(FoldedConv("operator", source, kernel, np.zeros(3), padding=1, relu=False))
        source, scale = "operator", 1.0
    if isinstance(model, TinyLaDeDa):
        steps += _student_steps(model, source, scale)
    elif isinstance(model, LaDeDa9):
        steps += _teacher_steps(model, source, scale)
    elif isinstance(model, Lite):
        steps += _lite_steps(model, source, scale)
    else:
        msg = f"architecture {model.architecture!r} has no folding; fold one of ladeda9, lite, tiny_ladeda"
        raise ExportError(msg)
    islands = _lite_islands(steps) if isinstance(model, Lite) else ISLANDS
    return FoldedNetwork(model.architecture, model.input_operator == "NPR", tuple(steps), model, islands=islands)


def in_levels(folded: FoldedNetwork, std: Sequence[float], pixel_scale: float) -> FoldedNetwork:
    """Let NPR give differences in levels of 8-bit pixels, and take the factor out of the first kernel.

    The function stays the same. A difference of two pixels of one colour is then a whole number, so that quantising
    it with a step of 1 loses nothing where it is below 128. With the step that a range of S4 gives, every pixel is
    rounded to another grid, and that noise is as large as the traces which NPR shows.

    Parameters
    ----------
    folded : FoldedNetwork
        Without effect where it has no NPR.
    std : sequence of 3 floats
        Contract: ``pixel_pipeline.normalisation_std``.
    pixel_scale : float
        Contract: ``pixel_pipeline.pixel_scale``.

    Returns
    -------
    FoldedNetwork
        With ``operator_gain`` in levels a unit of S4.
    """
    first = folded.steps[0]
    if not folded.npr or not isinstance(first, FoldedConv):
        return folded
    red, green, blue = (float(value) / pixel_scale for value in std)
    kernel = first.kernel / np.array([red, green, blue])[None, None, :, None]
    steps = (replace(first, kernel=kernel), *folded.steps[1:])
    return replace(folded, steps=steps, operator_gain=(red, green, blue))


def _student_steps(model: TinyLaDeDa, source: str, scale: float) -> list[FoldedConv]:
    block, cells = model.layer1[0], model.declared("cells")
    conv1, conv2 = (cast(nn.Conv2d, getattr(block, name)) for name in ("conv1", "conv2"))
    mix, mix_bias = _with_norm(_array(conv1.weight), cast(nn.BatchNorm2d, block.bn1))
    down, down_bias = _with_norm(_array(conv2.weight), cast(nn.BatchNorm2d, block.bn2))
    head = _array(model.fc.weight).reshape(-1)
    mean = np.broadcast_to(head[None, None, :, None], (cells.kernel, cells.kernel, len(head), 1)) / cells.kernel**2
    return [
        _stem(model, source, scale),
        FoldedConv("mix", "stem", _hwio(mix), mix_bias),
        FoldedConv("down", "mix", _hwio(down), down_bias, stride=conv2.stride[0]),
        FoldedConv("cell", "down", np.ascontiguousarray(mean), _array(model.fc.bias), cells.stride, relu=False),
    ]


def _teacher_steps(model: LaDeDa9, source: str, scale: float) -> list[FoldedConv | FoldedSum]:
    steps: list[FoldedConv | FoldedSum] = [_stem(model, source, scale)]
    for place, stage in enumerate(model.stages(), start=1):
        for number, block in enumerate(stage):
            steps += _bottleneck_steps(cast(Bottleneck, block), f"layer{place}_{number}", steps[-1].name)
    head = _array(model.fc.weight)[:, :, None, None]
    return [*steps, FoldedConv("cell", steps[-1].name, _hwio(head), _array(model.fc.bias), relu=False)]


def _bottleneck_steps(block: Bottleneck, name: str, source: str) -> list[FoldedConv | FoldedSum]:
    convs = [(block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3)]
    steps: list[FoldedConv | FoldedSum] = []
    before = source
    for number, (conv, norm) in enumerate(convs, start=1):
        kernel, bias = _with_norm(_array(conv.weight), norm)
        steps.append(FoldedConv(f"{name}_{number}", before, _hwio(kernel), bias, conv.stride[0], relu=number < 3))
        before = steps[-1].name
    shortcut = source
    if block.downsample is not None:
        conv, norm = cast("tuple[nn.Conv2d, nn.BatchNorm2d]", tuple(block.downsample))
        kernel, bias = _with_norm(_array(conv.weight), norm)
        shortcut = f"{name}_shortcut"
        steps.append(FoldedConv(shortcut, source, _hwio(kernel), bias, conv.stride[0], relu=False))
    crop = (block.conv2.kernel_size[0] - 1) // block.conv2.stride[0]
    return [*steps, FoldedSum(f"{name}_sum", before, shortcut, crop)]


def _lite_steps(model: Lite, source: str, scale: float) -> list[FoldedConv | FoldedSum]:
    """Trunk, then each head and its mean over the finer cells of a coarse one as one strided convolution."""
    steps: list[FoldedConv | FoldedSum] = [_same("stem", source, model.stem, model.stem_norm, scale=scale)]
    reached, heads, cell = 2, [], "cell"
    for depth, module in enumerate(model.blocks):
        block, before = cast(InvertedResidual, module), steps[-1].name
        name, inner = f"block{depth}", before
        if block.expand is not None and block.expand_norm is not None:
            steps.append(_same(f"{name}_expand", inner, block.expand, block.expand_norm))
            inner = steps[-1].name
        steps.append(_same(f"{name}_depthwise", inner, block.depthwise, block.depthwise_norm))
        steps.append(_same(f"{name}_project", steps[-1].name, block.project, block.project_norm, relu=False))
        if block.shortcut:
            steps.append(FoldedSum(f"{name}_sum", steps[-1].name, before, 0, relu=False))
        reached *= block.depthwise.stride[0]
        if depth in HEADS:
            heads.append(_head(cast(nn.Linear, model.heads[str(depth)]), f"{cell}_{depth}", steps[-1].name, reached))
    steps += heads
    total = heads[0].name
    for place, head in enumerate(heads[1:], start=1):
        name = cell if place == len(heads) - 1 else f"{cell}_sum{place}"
        steps.append(FoldedSum(name, head.name, total, 0, relu=False))
        total = name
    return steps


def _lite_islands(steps: Sequence[FoldedConv | FoldedSum]) -> tuple[str, ...]:
    """The heads, whose maps a range would cut off, and what is before `INTEGERS_FROM`.

    On 300 faces and a first training of the network a probability moved by up to 0.15 with integers everywhere, by
    0.025, 0.019 and 0.014 with integers from block 5, 8 and 11 on, for 2.8, 3.0, 3.5 and 4.7 MB and for 0.63, 0.66,
    0.73 and 0.86 of the time in float.
    """
    late = tuple(f"block{depth}_" for depth in range(INTEGERS_FROM, len(BLOCKS)))
    return (OPERATOR, *(step.name for step in steps if not step.name.startswith(late)))


def _same(
    name: str, source: str, conv: SameConv, norm: nn.BatchNorm2d, *, relu: bool = True, scale: float = 1.0
) -> FoldedConv:
    kernel, bias = _with_norm(_array(conv.weight) * scale, norm)
    depthwise = conv.groups > 1
    shaped = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)) if depthwise else _hwio(kernel)
    ceiling = 6.0 if relu else None
    return FoldedConv(name, source, shaped, bias, conv.stride[0], 0, relu, ceiling, same=True, depthwise=depthwise)


def _head(head: nn.Linear, name: str, source: str, reached: int) -> FoldedConv:
    side, weight = STRIDE // reached, _array(head.weight).reshape(-1)
    mean = np.broadcast_to(weight[None, None, :, None], (side, side, len(weight), 1)) / side**2
    return FoldedConv(name, source, np.ascontiguousarray(mean), _array(head.bias), side, relu=False)


def _stem(model: TinyLaDeDa | LaDeDa9, source: str, scale: float) -> FoldedConv:
    first = _array(model.conv1.weight)[:, :, 0, 0]  # (mid, in)
    merged = np.einsum("omhw,mi->oihw", _array(model.conv2.weight), first) * scale
    kernel, bias = _with_norm(merged, model.bn1)
    return FoldedConv("stem", source, _hwio(kernel), bias)


def _array(tensor: Tensor) -> Array:
    return cast(Array, tensor.detach().cpu().double().numpy())


def _hwio(kernel: Array) -> Array:
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))


def _with_norm(kernel: Array, norm: nn.BatchNorm2d) -> tuple[Array, Array]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    bias = _array(norm.bias) - _array(norm.running_mean) * factor
    return kernel * factor[:, None, None, None], bias
