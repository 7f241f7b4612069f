"""Weights of `lite` read back from its exported ONNX file, so that a training can go on from a bundle.

An exported file holds every batch norm folded into its kernel. How a kernel was split into weights and a norm's factor
is lost, and does not matter for what is computed; for a training it does, since a step moves a weight of any size by
the same amount. Every channel is therefore given the size that it has in the pretrained trunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from ecdd.models.lite import ARCHITECTURE, HEADS, NORM_EPSILON, Lite
from ecdd.models.state_dicts import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

DEAD: Final = 0.01  # of its layer's median: a channel of the trunk below it has no size to go by


def load_exported(path: Path, trunk: Lite) -> Lite:
    """Read a network that computes what the file computes.

    Parameters
    ----------
    path : Path
        ``model.onnx`` as `ecdd.export` writes it.
    trunk : Lite
        The pretrained trunk that the file's training began with.

    Returns
    -------
    Lite
        In evaluation mode; its map is the file's but for rounding in float32.

    Raises
    ------
    CheckpointError
        If it is no ONNX file, or a layer is missing or of another shape.
    """
    found = _initializers(path)
    state = trunk.state_dict()
    for name, module in trunk.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            conv = name.removesuffix("_norm")
            layer = conv.replace("blocks.", "block").replace(".", "_")
            kernel = _tensor(found, f"{layer}_kernel", state[f"{conv}.weight"].shape, path)
            bias = _tensor(found, f"{layer}_bias", kernel.shape[:1], path)
            _unfold(state, conv, kernel, bias)
    for depth in HEADS:
        channels = state[f"heads.{depth}.weight"].shape[1]
        cell = found.get(f"cell_{depth}_kernel")
        if cell is None or cell.shape[:2] != (1, channels):
            raise _missing(path, f"cell_{depth}_kernel", (1, channels))
        state[f"heads.{depth}.weight"] = torch.from_numpy(cell.astype(np.float64).sum(axis=(2, 3))).float()
        state[f"heads.{depth}.bias"] = _tensor(found, f"cell_{depth}_bias", (1,), path).float()
    with torch.random.fork_rng(devices=[]):
        model = Lite()
    model.load_state_dict(state, strict=True)
    return model.eval()


def _initializers(path: Path) -> dict[str, NDArray[Any]]:
    import onnx

    try:
        graph = onnx.load_model(path, load_external_data=False).graph
        return {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    except Exception as error:  # protobuf and onnx raise many kinds for a damaged file
        msg = f"{path}: not a readable ONNX file ({type(error).__name__})"
        raise CheckpointError(msg) from error


def _tensor(found: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    value = found.get(name)
    if value is None or value.shape != tuple(shape) or not np.isfinite(value).all():
        raise _missing(path, name, tuple(shape))
    return torch.from_numpy(value.astype(np.float64))


def _missing(path: Path, name: str, shape: tuple[int, ...]) -> CheckpointError:
    msg = f"{path}: no {ARCHITECTURE} as it is exported: {name} of shape {shape} is missing, or not finite"
    return CheckpointError(msg)


def _unfold(state: dict[str, Tensor], conv: str, kernel: Tensor, bias: Tensor) -> None:
    """Split a folded kernel into weights of the trunk's size and a batch norm with the trunk's statistics."""
    norm = f"{conv}_norm"
    sizes, folded = (one.double().square().mean(dim=(1, 2, 3)).sqrt() for one in (state[f"{conv}.weight"], kernel))
    alive = (sizes > DEAD * sizes.median()) & (folded > DEAD * folded.median())
    factor = torch.where(alive, folded / sizes.clamp_min(1e-30), torch.ones_like(folded))
    mean, spread = state[f"{norm}.running_mean"].double(), (state[f"{norm}.running_var"].double() + NORM_EPSILON).sqrt()
    state[f"{conv}.weight"] = (kernel / factor[:, None, None, None]).float()
    state[f"{norm}.weight"] = (factor * spread).float()
    state[f"{norm}.bias"] = (bias + factor * mean).float()
