"""``lite``: EfficientNet-Lite0 up to its fifteenth block, with a linear head on five depths.

Every head is a linear layer on the channels of a cell (a 1x1 convolution to one channel). The finer maps are averaged
down to the coarsest grid (stride 32) and added, so the network gives one patch-logit map; since every cell of the
coarse grid is the mean of equally many finer cells, the mean of the map is exactly the sum of the means of the five
heads' maps.

Trunk after Tan and Le, "EfficientNet" (2019), in the ``lite`` variant of Liu et al. (2020): ReLU6, no
squeeze-and-excitation, TensorFlow's SAME padding, batch norm with epsilon 1e-3. Pretrained ImageNet weights are read
by `ecdd.models.pretrained`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecdd.models.gradients import apply_operator
from ecdd.models.patch_network import PatchNetwork

ARCHITECTURE: Final = "lite"
STEM_CHANNELS: Final = 32
NORM_EPSILON: Final = 1e-3
NORM_MOMENTUM: Final = 0.01
STRIDE: Final = 32
HEADS: Final = (2, 4, 7, 10, 14)


class BlockShape(NamedTuple):
    """One inverted residual block: channels, expansion, kernel and stride."""

    inputs: int
    outputs: int
    expansion: int
    kernel: int
    stride: int


def _stage(inputs: int, outputs: int, kernel: int, stride: int, repeats: int) -> list[BlockShape]:
    expansion = 1 if inputs == STEM_CHANNELS else 6
    first = BlockShape(inputs, outputs, expansion, kernel, stride)
    return [first, *[BlockShape(outputs, outputs, expansion, kernel, 1)] * (repeats - 1)]


BLOCKS: Final[tuple[BlockShape, ...]] = (
    *_stage(32, 16, 3, 1, 1),
    *_stage(16, 24, 3, 2, 2),
    *_stage(24, 40, 5, 2, 2),
    *_stage(40, 80, 3, 2, 3),
    *_stage(80, 112, 5, 1, 3),
    *_stage(112, 192, 5, 2, 4),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pad as TensorFlow's SAME does: px before and after, the odd one after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv(nn.Conv2d):
    """A convolution without bias under TensorFlow's SAME padding, which is lopsided at stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)

    def normed(self, x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """Convolve and normalise, (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride)).

        A batch norm that keeps its statistics is folded into the kernel: the same function, a quarter faster to train.
        """
        if norm.training:
            out: Tensor = norm(self._convolved(x, self.weight, None))
            return out
        running_mean, running_var = norm.running_mean, norm.running_var
        assert running_mean is not None
        assert running_var is not None
        scale = norm.weight * torch.rsqrt(running_var + norm.eps)
        return self._convolved(x, self.weight * scale[:, None, None, None], norm.bias - running_mean * scale)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = same_padding(x.shape[2], kernel, stride)
        left, right = same_padding(x.shape[3], kernel, stride)
        if top == bottom == left == right:
            return functional.conv2d(x, weight, bias, stride, top, 1, self.groups)
        return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)


class InvertedResidual(nn.Module):
    """Expand by 1x1, convolve each channel alone, project by 1x1; a shortcut where the shape stays."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        middle = shape.inputs * shape.expansion
        self.expand = SameConv(shape.inputs, middle, 1) if shape.expansion > 1 else None
        self.expand_norm = _norm(middle) if shape.expansion > 1 else None
        self.depthwise = SameConv(middle, middle, shape.kernel, shape.stride, groups=middle)
        self.depthwise_norm = _norm(middle)
        self.project = SameConv(middle, shape.outputs, 1)
        self.project_norm = _norm(shape.outputs)
        self.shortcut = shape.stride == 1 and shape.inputs == shape.outputs
        self.skipped = 0.0  # share of training pictures that take the shortcut alone

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block, (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        inner = x
        if self.expand is not None and self.expand_norm is not None:
            inner = functional.relu6(self.expand.normed(inner, self.expand_norm))
        inner = functional.relu6(self.depthwise.normed(inner, self.depthwise_norm))
        inner = self.project.normed(inner, self.project_norm)
        if not self.shortcut:
            return inner
        if self.training and self.skipped:
            taken = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.skipped
            inner = inner * taken / (1 - self.skipped)
        return x + inner


class Lite(PatchNetwork):
    """EfficientNet-Lite0 with a patch-logit map of stride 32.

    Parameters
    ----------
    input_operator : str
        Fixed operator before the first convolution; pretrained weights need ``raw``.
    operator_scale : float
        Factor on the operator's output.
    width : float
        Must be 1: there are no pretrained weights of another width.

    Raises
    ------
    ValueError
        For an unknown operator, or another width than 1.
    """

    architecture = ARCHITECTURE

    def __init__(self, input_operator: str = "raw", operator_scale: float = 1.0, width: float = 1.0) -> None:
        super().__init__(input_operator, operator_scale, width)
        if width != 1.0:
            msg = f"width {width}: lite has pretrained weights of width 1 only"
            raise ValueError(msg)
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self.stem_norm = _norm(STEM_CHANNELS)
        self.blocks = nn.ModuleList(InvertedResidual(shape) for shape in BLOCKS)
        self.heads = nn.ModuleDict({str(depth): nn.Linear(BLOCKS[depth].outputs, 1) for depth in HEADS})
        for module in self.modules():
            if isinstance(module, SameConv):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)

    def skip_blocks(self, share: float) -> None:
        """Let training pictures pass blocks by their shortcut alone: stochastic depth (Huang et al., 2016).

        Parameters
        ----------
        share : float
            Of the pictures at the deepest block, 0 to below 1; less before it, in proportion to depth.
        """
        for depth, block in enumerate(self.blocks, start=1):
            assert isinstance(block, InvertedResidual)
            block.skipped = share * depth / len(self.blocks)

    def depth_features(self, x: Tensor) -> list[Tensor]:
        """Compute what the heads read, from fine to coarse.

        Parameters
        ----------
        x : Tensor, floating, shape (N, 3, H, W)
            S4 in NCHW; H and W multiples of 32.

        Returns
        -------
        list of Tensor, each of shape (N, channels, rows, cols)
            Outputs of the blocks `HEADS`, at strides 4, 8, 16, 16 and 32.
        """
        x = apply_operator(x, self.input_operator, self.operator_scale)
        x = functional.relu6(self.stem.normed(x, self.stem_norm))
        found = []
        for depth, block in enumerate(self.blocks):
            x = block(x)
            if depth in HEADS:
                found.append(x)
        return found

    def head_maps(self, x: Tensor) -> list[Tensor]:
        """Compute every head's own logit map, (N, 1, rows, cols) each, from fine to coarse."""
        # as a product of matrices: oneDNN's backward pass of so narrow a convolution is not to be trusted
        return [
            self.heads[str(depth)](one.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for depth, one in zip(HEADS, self.depth_features(x), strict=True)
        ]

    def native_map(self, x: Tensor) -> Tensor:
        """Compute the patch-logit map, shape (N, H/32, W/32): the native map and the patch grid are one."""
        maps = self.head_maps(x)
        rows = maps[-1].shape[2]
        pooled = [functional.avg_pool2d(one, one.shape[2] // rows) if one.shape[2] > rows else one for one in maps]
        return torch.stack(pooled).sum(dim=0).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the patch-logit map (S5), shape (N, H/32, W/32); (N, 8, 8) for 256x256."""
        return self.native_map(x)


assert all(one.outputs == other.inputs for one, other in pairwise(BLOCKS))
