"""Tiny-LaDeDa, the student: four convolutions and a linear head, 1297 parameters.

Facts (design.md, "Geometry of the detector"): on a 256x256 tensor the native map is 126x126 at stride 2 with a
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

from ecdd.models.gradients import Operator, apply_operator, operator_name

ARCHITECTURE = "tiny_ladeda"
CHANNELS = 8
PARAMETERS = 1297
CELL_POOL = 3
CELL_POOL_STRIDE = 4


class _Bottleneck(nn.Module):
    """1x1 convolution, then 3x3 convolution at stride 2, each with batch norm and ReLU; no shortcut, no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))


class TinyLaDeDa(nn.Module):
    """The student network.

    Parameters
    ----------
    input_operator : str
        Fixed operator before the first convolution (contract: ``patch_grid.input_operator``).
    operator_scale : float
        Factor on the operator's output (contract: ``patch_grid.operator_scale``).
    """

    def __init__(self, input_operator: str = "NPR", operator_scale: float = 2 / 3) -> None:
        super().__init__()
        self.input_operator: Operator = operator_name(input_operator)
        self.operator_scale = float(operator_scale)
        self.conv1 = nn.Conv2d(3, CHANNELS, 1, bias=False)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS, momentum=0.01)
        self.layer1 = nn.Sequential(OrderedDict([("0", _Bottleneck())]))
        self.fc = nn.Linear(CHANNELS, 1)
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
        Tensor, floating, shape (N, 8, (H-4)//2, (W-4)//2)
            Non-negative features; 126x126 for 256x256.
        """
        x = apply_operator(x, self.input_operator, self.operator_scale)
        # nothing stands between the first two convolutions: one merged kernel is the same function, 2.6 x as fast
        kernel = torch.einsum("omhw,mi->oihw", self.conv2.weight, self.conv1.weight[:, :, 0, 0])
        x = functional.relu(self.bn1(functional.conv2d(x, kernel)))
        out: Tensor = self.layer1(x)
        return out

    def native_map(self, x: Tensor) -> Tensor:
        """Compute the native logit map, shape (N, (H-4)//2, (W-4)//2): what public checkpoints average."""
        weight, bias = self.fc.weight.reshape(1, CHANNELS, 1, 1), self.fc.bias
        return functional.conv2d(self.features(x), weight, bias).squeeze(1)

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
        native = self.native_map(x).unsqueeze(1)
        return functional.avg_pool2d(native, CELL_POOL, CELL_POOL_STRIDE).squeeze(1)


def seeded_student(seed: int, input_operator: str = "NPR", operator_scale: float = 2 / 3) -> TinyLaDeDa:
    """Make an untrained student from a seed, leaving the global random state as it was.

    Parameters
    ----------
    seed : int
        Seed of the weights.
    input_operator : str
        Fixed operator before the first convolution.
    operator_scale : float
        Factor on the operator's output.

    Returns
    -------
    TinyLaDeDa
        In evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyLaDeDa(input_operator, operator_scale).eval()
