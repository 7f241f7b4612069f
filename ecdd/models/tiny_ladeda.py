"""Tiny-LaDeDa, the student: four convolutions and a linear head, 1297 parameters.

Facts, measured: on a 256x256 tensor the native map is 126x126 at stride 2 with a
5x5 receptive field; averaging it 3x3 with stride 4 gives a 31x31 grid with a 9x9 receptive field at stride 8,
without padding, so cell (i, j) sees rows 8i to 8i+8 and columns 8j to 8j+8. Architecture after Cavia, Horwitz, Reiss
and Hoshen, "Real-Time Deepfake Detection in the Real-World" (2024); names of the parameters follow their public
checkpoints, which therefore load.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecdd.models.gradients import apply_operator
from ecdd.models.patch_network import PatchNetwork, scaled_channels

ARCHITECTURE = "tiny_ladeda"
CHANNELS = 8
PARAMETERS = 1297


class _Bottleneck(nn.Module):
    """1x1 convolution, then 3x3 convolution at stride 2, each with batch norm and ReLU; no shortcut, no padding."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel, stride=stride, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))


class TinyLaDeDa(PatchNetwork):
    """The student network.

    Parameters
    ----------
    input_operator : str
        Fixed operator before the first convolution (contract: ``patch_grid.input_operator``).
    operator_scale : float
        Factor on the operator's output (contract: ``patch_grid.operator_scale``).
    width : float
        Multiplier of the 8 channels (`ecdd.models.patch_network.scaled_channels`); 1 is the public architecture.
    """

    architecture = ARCHITECTURE

    def __init__(self, input_operator: str = "NPR", operator_scale: float = 2 / 3, width: float = 1.0) -> None:
        super().__init__(input_operator, operator_scale, width)
        channels, middle = scaled_channels(CHANNELS, width), self.declared("layer1.0.conv2")
        self.conv1 = nn.Conv2d(3, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, self.declared("conv2").kernel, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, momentum=0.01)
        self.layer1 = nn.Sequential(OrderedDict([("0", _Bottleneck(channels, middle.kernel, middle.stride))]))
        self.fc = nn.Linear(channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Compute the native feature map.

        Parameters
        ----------
        x : Tensor, floating, shape (N, 3, H, W)
            S4 in NCHW; H and W even.

        Returns
        -------
        Tensor, floating, shape (N, channels, (H-4)//2, (W-4)//2)
            Non-negative features; (N, 8, 126, 126) for 256x256 at width 1.
        """
        x = apply_operator(x, self.input_operator, self.operator_scale)
        # nothing stands between the first two convolutions: one merged kernel is the same function, 2.6 x as fast
        kernel = torch.einsum("omhw,mi->oihw", self.conv2.weight, self.conv1.weight[:, :, 0, 0])
        x = functional.relu(self.bn1(functional.conv2d(x, kernel)))
        out: Tensor = self.layer1(x)
        return out

    def native_map(self, x: Tensor) -> Tensor:
        """Compute the native logit map, shape (N, (H-4)//2, (W-4)//2): what public checkpoints average."""
        weight = self.fc.weight[:, :, None, None]
        return functional.conv2d(self.features(x), weight, self.fc.bias).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the patch-logit map (S5).

        Parameters
        ----------
        x : Tensor, floating, shape (N, 3, H, W)
            S4 in NCHW; 256x256 in the product.

        Returns
        -------
        Tensor, floating, shape (N, rows, cols)
            Logits, larger means more likely fake; (N, 31, 31) for 256x256.
        """
        native, cells = self.native_map(x).unsqueeze(1), self.declared("cells")
        return functional.avg_pool2d(native, cells.kernel, cells.stride).squeeze(1)
