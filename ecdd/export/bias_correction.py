"""Take out of the biases what rounding a network's weights to 8 bits adds to its outputs on average.

A kernel whose weights cancel, as those of depthwise layers often do, reads large inputs and gives small outputs; the
rounded weights no longer cancel, and every output is off by nearly the same amount. After Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction" (2019), with the mean measured instead of assumed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ecdd.export.folding import IMAGE, FoldedConv, FoldedNetwork
from ecdd.models.gradients import neighbouring_pixel_residual

LEVELS = 127  # of an int8 kernel on either side of 0
PICTURES = 32  # a mean over all places of a picture settles soon


def bias_corrected(folded: FoldedNetwork, tensors: NDArray[np.float32], float_layers: Collection[str]) -> FoldedNetwork:
    """Correct the bias of every layer whose weights will be int8, from first to last.

    Parameters
    ----------
    folded : FoldedNetwork
        In float.
    tensors : ndarray, float32, shape (N, S, S, 3)
        S4 of representative pictures; the first `PICTURES` are read.
    float_layers : collection of str
        Layers that stay as they are.

    Returns
    -------
    FoldedNetwork
        The same weights, other biases. Each is corrected behind layers that are rounded and corrected themselves.
    """
    image = torch.from_numpy(np.ascontiguousarray(tensors[:PICTURES].transpose(0, 3, 1, 2)))
    steps = list(folded.steps)
    with torch.inference_mode():
        found = {IMAGE: image}
        if folded.npr:
            found[IMAGE] = neighbouring_pixel_residual(image) * torch.tensor(folded.operator_gain)[:, None, None]
        for place, step in enumerate(steps):
            if not isinstance(step, FoldedConv):
                path, short = found[step.path], found[step.shortcut]
                total = path + short[..., : path.shape[2], : path.shape[3]]
                found[step.name] = functional.relu(total) if step.relu else total
                continue
            kernel, bias = _torch_kernel(step), torch.from_numpy(step.bias).float()
            if step.name not in float_layers:
                rounded = _rounded(kernel)
                shift = _convolved(step, found[step.source], kernel - rounded).mean(dim=(0, 2, 3))
                kernel, bias = rounded, bias + shift
                steps[place] = replace(step, bias=step.bias + shift.double().numpy())
            out = _convolved(step, found[step.source], kernel) + bias[:, None, None]
            found[step.name] = out.clamp(0, step.ceiling) if step.relu else out
    return replace(folded, steps=tuple(steps))


def _torch_kernel(step: FoldedConv) -> Tensor:
    kernel = torch.from_numpy(np.ascontiguousarray(step.kernel)).float()
    return (kernel.permute(2, 3, 0, 1) if step.depthwise else kernel.permute(3, 2, 0, 1)).contiguous()


def _rounded(kernel: Tensor) -> Tensor:
    """As the quantiser does it: one scale an output channel, by its largest weight."""
    scale = kernel.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12) / LEVELS
    return (kernel / scale).round() * scale


def _convolved(step: FoldedConv, x: Tensor, kernel: Tensor) -> Tensor:
    before, after = step.pads()
    padded = functional.pad(x, (before, after, before, after))
    return functional.conv2d(padded, kernel, None, step.stride, groups=x.shape[1] if step.depthwise else 1)
