"""LaDeDa9, the teacher: a ResNet-50-style bottleneck network whose cells see 9x9 pixels each.

Every 3x3 convolution but three is a 1x1, as in BagNet (Brendel and Bethge, 2019), and none is padded, so on a 256x256
tensor the map is 31x31 at stride 8 and cell (i, j) sees rows 8i to 8i+8 and columns 8j to 8j+8: the same cells as the
student's. Architecture after Cavia, Horwitz, Reiss and Hoshen, "Real-Time Deepfake Detection in the Real-World" (2024);
names and shapes of the parameters follow their public checkpoints, which therefore load at width 1.

At width 1: 13 641 793 parameters, 20.97 G multiply-adds a 256x256 tensor as the public code computes it. The reduced
width for CPU, `REDUCED_WIDTH`, is 3/16: 488 029 parameters, 0.74 G multiply-adds, 1.04 MB as float16 safetensors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecdd.models.gradients import apply_operator
from ecdd.models.patch_network import PatchNetwork, scaled_channels

STEM = 64
EXPANSION = 4
# inner channels at width 1 and number of blocks
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
REDUCED_WIDTH = 0.1875


class Bottleneck(nn.Module):
    """1x1, then the stage's own convolution, then 1x1 to four times the channels; a shortcut, no padding.

    Parameters
    ----------
    inputs, planes : int
        Channels that come in, and channels inside.
    kernel, stride : int
        Of the middle convolution.
    project : bool
        The shortcut is a 1x1 convolution at the same stride; else the input itself.
    """

    def __init__(self, inputs: int, planes: int, kernel: int, stride: int, project: bool) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel, stride=stride, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if project:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, 4 x planes, rows, cols) from (N, inputs, H, W), both non-negative."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        # a middle convolution without padding ends earlier than the shortcut: their top left corners coincide
        return functional.relu(out + shortcut[..., : out.shape[-2], : out.shape[-1]])


class LaDeDa9(PatchNetwork):
    """The teacher network.

    Parameters
    ----------
    input_operator : str
        Fixed operator before the first convolution (contract: ``patch_grid.input_operator``).
    operator_scale : float
        Factor on the operator's output (contract: ``patch_grid.operator_scale``).
    width : float
        Multiplier of all channels (`ecdd.models.patch_network.scaled_channels`); 1 is the public architecture.
    """

    architecture = "ladeda9"

    def __init__(self, input_operator: str = "NPR", operator_scale: float = 2 / 3, width: float = 1.0) -> None:
        super().__init__(input_operator, operator_scale, width)
        stem = scaled_channels(STEM, width)
        self.conv1 = nn.Conv2d(3, stem, 1, bias=False)
        self.conv2 = nn.Conv2d(stem, stem, self.declared("conv2").kernel, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        inputs = stem
        for index, (planes, blocks) in enumerate(STAGES, start=1):
            setattr(self, f"layer{index}", self._stage(f"layer{index}", inputs, scaled_channels(planes, width), blocks))
            inputs = scaled_channels(planes, width) * EXPANSION
        self.fc = nn.Linear(inputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, name: str, inputs: int, planes: int, blocks: int) -> nn.Sequential:
        made = []
        for k in range(blocks):
            layer = self.declared(f"{name}.{k}.conv2")
            made.append(Bottleneck(inputs, planes, layer.kernel, layer.stride, project=k == 0))
            inputs = planes * EXPANSION
        return nn.Sequential(*made)

    def stages(self) -> list[nn.Sequential]:
        """List the four stages of bottleneck blocks, first to last."""
        return [self.get_submodule(f"layer{index}") for index in range(1, len(STAGES) + 1)]  # type: ignore[misc]

    def native_map(self, x: Tensor) -> Tensor:
        """Compute the patch-logit map; the teacher has no other."""
        return self.forward(x)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the patch-logit map (S5).

        Parameters
        ----------
        x : Tensor, floating, shape (N, 3, H, W)
            S4 in NCHW; H and W even; 256x256 in the product.

        Returns
        -------
        Tensor, floating, shape (N, rows, cols)
            Logits, larger means more likely fake; (N, 31, 31) for 256x256.
        """
        x = apply_operator(x, self.input_operator, self.operator_scale)
        # nothing stands between the first two convolutions: one merged kernel is the same function and saves 2.4 G of
        # the 21.0 G multiply-adds
        kernel = torch.einsum("omhw,mi->oihw", self.conv2.weight, self.conv1.weight[:, :, 0, 0])
        x = functional.relu(self.bn1(functional.conv2d(x, kernel)))
        for stage in self.stages():
            x = stage(x)
        weight = self.fc.weight[:, :, None, None]
        return functional.conv2d(x, weight, self.fc.bias).squeeze(1)
