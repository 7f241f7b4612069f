"""Fold the student into four plain convolutions: what both exported files are built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ecdd.models.tiny_ladeda import TinyLaDeDa

Array = NDArray[np.float64]


class ExportError(Exception):
    """A model cannot be exported, or an exported file does not do what the model does."""


@dataclass(frozen=True)
class FoldedStudent:
    """Weights of the folded student, float64, kernels as height x width x in x out.

    Attributes
    ----------
    stem, stem_bias : ndarray, shapes (3, 3, 3, 8) and (8,)
        First two convolutions, batch norm and the operator's scale, on the unscaled NPR.
    mix, mix_bias : ndarray, shapes (1, 1, 8, 8) and (8,)
        1x1 convolution with its batch norm.
    down, down_bias : ndarray, shapes (3, 3, 8, 8) and (8,)
        3x3 convolution at stride 2 with its batch norm.
    cell, cell_bias : ndarray, shapes (3, 3, 8, 1) and (1,)
        Linear head and the 3x3 mean at stride 4 as one convolution.
    """

    stem: Array
    stem_bias: Array
    mix: Array
    mix_bias: Array
    down: Array
    down_bias: Array
    cell: Array
    cell_bias: Array


def fold(model: TinyLaDeDa) -> FoldedStudent:
    """Fold convolutions, batch norms, operator scale, head and cell mean, in float64.

    The second convolution follows the first without anything between them, so both are one 3x3 convolution;
    head and mean commute because both are linear and come after the last ReLU.

    Parameters
    ----------
    model : TinyLaDeDa
        In evaluation mode (batch statistics cannot be folded), operator NPR.

    Returns
    -------
    FoldedStudent
        Same function as the model, up to rounding.

    Raises
    ------
    ExportError
        If the model is in training mode or has another operator than NPR.
    """
    if model.training:
        msg = "the model is in training mode: batch norm would use batch statistics; call eval() before export"
        raise ExportError(msg)
    if model.input_operator != "NPR":
        msg = f"input_operator {model.input_operator!r} cannot be exported; only NPR has a folded graph"
        raise ExportError(msg)
    block = model.layer1[0]
    first = _array(model.conv1.weight)[:, :, 0, 0]  # (mid, in)
    stem = np.einsum("omhw,mi->oihw", _array(model.conv2.weight), first) * model.operator_scale
    stem, stem_bias = _with_norm(stem, model.bn1)
    mix, mix_bias = _with_norm(_array(cast(nn.Conv2d, block.conv1).weight), cast(nn.BatchNorm2d, block.bn1))
    down, down_bias = _with_norm(_array(cast(nn.Conv2d, block.conv2).weight), cast(nn.BatchNorm2d, block.bn2))
    head, side = _array(model.fc.weight).reshape(-1), model.declared("cells").kernel
    cell = np.broadcast_to(head[None, None, :, None], (side, side, len(head), 1)) / side**2
    return FoldedStudent(
        stem=_hwio(stem),
        stem_bias=stem_bias,
        mix=_hwio(mix),
        mix_bias=mix_bias,
        down=_hwio(down),
        down_bias=down_bias,
        cell=np.ascontiguousarray(cell),
        cell_bias=_array(model.fc.bias),
    )


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
