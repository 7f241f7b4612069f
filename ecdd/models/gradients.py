"""The fixed input operator in front of the student's first convolution.

An operator has no weights, so loading weights strictly cannot notice a wrong one: its name and its factor
travel in the checkpoint's metadata and are compared with the contract wherever a checkpoint is read.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Operator = Literal["NPR", "raw", "x_grad", "y_grad", "left_diag", "right_diag"]

# 3x3 kernels of the four derivative operators (Sobel, and its two diagonal turns), as public checkpoints use them.
_KERNELS: dict[str, tuple[tuple[float, ...], ...]] = {
    "x_grad": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "y_grad": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "left_diag": ((0, 1, 2), (-1, 0, 1), (-2, -1, 0)),
    "right_diag": ((-2, -1, 0), (-1, 0, 1), (0, 1, 2)),
}


def operator_name(text: str) -> Operator:
    """Check the name of an operator.

    Parameters
    ----------
    text : str
        One of ``NPR``, ``raw``, ``x_grad``, ``y_grad``, ``left_diag``, ``right_diag``.

    Returns
    -------
    Operator
        The same name, typed.

    Raises
    ------
    ValueError
        If there is no such operator.
    """
    for name in get_args(Operator):
        if name == text:
            return name  # type: ignore[no-any-return]
    msg = f"input_operator {text!r} is not known; choose one of {', '.join(get_args(Operator))}"
    raise ValueError(msg)


def operator_kernel(name: str) -> NDArray[np.float64]:
    """The 3x3 kernel of a derivative operator, float64, shape (3, 3); it correlates, zeros around the picture.

    Raises
    ------
    ValueError
        For an operator that is no derivative.
    """
    if name not in _KERNELS:
        msg = f"input_operator {name!r} has no kernel of its own; those that have are {', '.join(_KERNELS)}"
        raise ValueError(msg)
    return np.array(_KERNELS[name], np.float64)


def neighbouring_pixel_residual(x: Tensor) -> Tensor:
    """Subtract from every pixel the top-left pixel of its 2x2 block: ``x - up(down(x))``, nearest neighbour.

    Down-sampling is a strided slice: the nearest-neighbour resize of several libraries picks another pixel.

    Parameters
    ----------
    x : Tensor, floating, shape (N, C, H, W)
        Normalised picture; H and W even.

    Returns
    -------
    Tensor, same dtype and shape
        Zero at every pixel with even row and even column.

    Raises
    ------
    ValueError
        If H or W is odd.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        msg = f"NPR needs even sides, got {height}x{width}; choose an even input_size"
        raise ValueError(msg)
    low = x[..., ::2, ::2]
    return x - low.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def apply_operator(x: Tensor, name: Operator, scale: float) -> Tensor:
    """Apply the fixed input operator.

    Parameters
    ----------
    x : Tensor, floating, shape (N, C, H, W)
        Normalised picture.
    name : Operator
        Which operator. The four derivatives pad with zeros by one pixel, as public checkpoints were trained.
    scale : float
        Factor on the output (2/3 for NPR).

    Returns
    -------
    Tensor, same dtype and shape
        The operator's output times ``scale``.
    """
    if name == "raw":
        return x * scale
    if name == "NPR":
        return neighbouring_pixel_residual(x) * scale
    channels = x.shape[1]
    kernel = torch.tensor(_KERNELS[name], dtype=x.dtype, device=x.device)
    kernel = kernel.reshape(1, 1, 3, 3).expand(channels, 1, 3, 3)
    return functional.conv2d(x, kernel, padding=1, groups=channels) * scale
