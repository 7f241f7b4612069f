"""The networks by name: what a checkpoint calls its architecture, and what builds it."""

from __future__ import annotations

from typing import Final, Protocol

from ecdd.models.ladeda import LaDeDa9
from ecdd.models.lite import Lite
from ecdd.models.patch_network import PatchNetwork
from ecdd.models.tiny_ladeda import TinyLaDeDa


class _Constructor(Protocol):
    def __call__(self, input_operator: str, operator_scale: float, width: float) -> PatchNetwork: ...


ARCHITECTURES: Final[dict[str, _Constructor]] = {
    LaDeDa9.architecture: LaDeDa9,
    TinyLaDeDa.architecture: TinyLaDeDa,
    Lite.architecture: Lite,
}


def build_network(architecture: str, input_operator: str, operator_scale: float, width: float = 1.0) -> PatchNetwork:
    """Build an untrained network.

    Parameters
    ----------
    architecture : str
        A key of `ARCHITECTURES`.
    input_operator : str
        Fixed operator before the first convolution.
    operator_scale : float
        Factor on the operator's output.
    width : float
        Multiplier of the channels; 1 is the public architecture.

    Returns
    -------
    PatchNetwork
        In training mode, weights from torch's global random state.

    Raises
    ------
    ValueError
        For an unknown architecture or operator, or a width out of range.
    """
    if architecture not in ARCHITECTURES:
        msg = f"architecture {architecture!r} is not known; choose one of {', '.join(sorted(ARCHITECTURES))}"
        raise ValueError(msg)
    return ARCHITECTURES[architecture](input_operator, operator_scale, width)
