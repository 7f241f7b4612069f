"""What teacher and student have in common: a fixed operator in front, a patch-logit map behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from ecdd.contract.layer_geometry import NETWORK_LAYERS, GridGeometry, Layer, compose, layers_of
from ecdd.models.gradients import Operator, operator_name

CHANNEL_STEP = 4
# The backward pass of a convolution with 4 channels crashed or never ended on CPU (torch 2.13, oneDNN).
LEAST_CHANNELS = 8


def scaled_channels(full: int, width: float) -> int:
    """Scale a number of channels: the nearest multiple of 4 (half rounds up), at least 8.

    Multiples of 4 fill the vector registers of CPU kernels, and leave 3/16 of every public width exact.

    Parameters
    ----------
    full : int
        Channels at width 1, a multiple of 4.
    width : float
        In (0, 4].

    Returns
    -------
    int
        Channels; ``full`` at width 1.
    """
    return max(LEAST_CHANNELS, int(full * width / CHANNEL_STEP + 0.5) * CHANNEL_STEP)


class PatchNetwork(nn.Module, ABC):
    """A network from S4 to a patch-logit map.

    Parameters
    ----------
    input_operator : str
        Fixed operator before the first convolution (contract: ``patch_grid.input_operator``).
    operator_scale : float
        Factor on the operator's output (contract: ``patch_grid.operator_scale``).
    width : float
        Multiplier of the channels, in (0, 4]; 1 is the public architecture.

    Raises
    ------
    ValueError
        For an unknown operator or a width out of range.
    """

    architecture: ClassVar[str]

    def __init__(self, input_operator: str, operator_scale: float, width: float) -> None:
        super().__init__()
        if not 0 < width <= 4:
            msg = f"width {width} is out of range; choose one above 0 and at most 4"
            raise ValueError(msg)
        self.input_operator: Operator = operator_name(input_operator)
        self.operator_scale = float(operator_scale)
        self.width = float(width)

    @classmethod
    def declared(cls, name: str) -> Layer:
        """Look up a layer of the declared list; one that is not listed is 1x1 at stride 1."""
        return next((layer for layer in NETWORK_LAYERS[cls.architecture] if layer.name == name), Layer(name))

    def geometry(self, height: int, width: int, *, native: bool = False) -> GridGeometry:
        """Compose the geometry of the map (or of the native map) for a tensor of this size, px."""
        return compose(layers_of(self.architecture, self.input_operator, native=native), height, width)

    @abstractmethod
    def native_map(self, x: Tensor) -> Tensor:
        """Compute the map that public checkpoints average, shape (N, rows, cols), from (N, 3, H, W)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Compute the patch-logit map (S5), shape (N, rows, cols), from S4 in NCHW, (N, 3, H, W)."""

    def native_logit(self, x: Tensor) -> Tensor:
        """Compute the image logit as the public code of the architecture does: the mean of the whole native map.

        Parameters
        ----------
        x : Tensor, floating, shape (N, 3, H, W)
            S4 in NCHW; H and W even.

        Returns
        -------
        Tensor, floating, shape (N,)
            An imported checkpoint gives the numbers of its origin here. The student's patch-logit map leaves out
            part of the native cells, so the mean of that map is another number; the teacher's is the same.
        """
        return self.native_map(x).mean(dim=(1, 2))
