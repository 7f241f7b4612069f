"""State dicts that others wrote: reading them without running what they hold, and fitting them to a network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ecdd.errors import EcddError
from ecdd.models.patch_network import PatchNetwork

_NESTED_UNDER = ("model", "state_dict")
_PREFIXES = ("module.", "model.")
# counts training steps only; checkpoints of old versions of torch lack it
_COUNTER = ".num_batches_tracked"


class CheckpointError(EcddError):
    """A checkpoint cannot be read, or was made for another operator, architecture or preprocessing."""


def read_public_state(path: Path) -> dict[str, Tensor]:
    """Read a ``.pth`` file's state dict; nothing in the file is executed (``weights_only``).

    Parameters
    ----------
    path : Path
        A state dict, or one under the key ``model`` or ``state_dict``; names may begin with ``module.`` (of a
        data-parallel training) or ``model.``.

    Returns
    -------
    dict of str to Tensor
        Without these prefixes, on the CPU.

    Raises
    ------
    CheckpointError
        If the file is unreadable or holds no state dict, or two names differ in their prefix only.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        # the rest of torch's message advises to load the file without protection
        reason = str(error).partition("\n")[0].partition(" This file can still be loaded")[0]
        msg = f"{path}: not a readable checkpoint of tensors alone ({type(error).__name__}: {reason})"
        raise CheckpointError(msg) from error
    for key in _NESTED_UNDER:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        msg = f"{path}: holds {type(loaded).__name__}, no state dict; save model.state_dict()"
        raise CheckpointError(msg)
    if others := sorted(str(name) for name, value in loaded.items() if not isinstance(value, Tensor)):
        msg = f"{path}: holds no state dict: entries {others} are no tensors; save model.state_dict()"
        raise CheckpointError(msg)
    state: dict[str, Tensor] = {}
    for name, value in loaded.items():
        bare = _without_prefix(str(name))
        if bare in state:
            msg = f"{path}: two entries are named {bare} but for their prefix; keep one"
            raise CheckpointError(msg)
        state[bare] = value
    return state


def _without_prefix(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def load_strict(model: PatchNetwork, state: dict[str, Tensor], path: Path) -> None:
    """Fill a network; every key and shape must fit, every number must be finite.

    Parameters
    ----------
    model : PatchNetwork
        Its weights are replaced, converted to its own dtype.
    state : dict of str to Tensor
        Batch norm's step counters may be missing.
    path : Path
        For the message.

    Raises
    ------
    CheckpointError
        Lists every missing and every unknown key, and every wrong shape with what was found and what is wanted.
    """
    wanted = model.state_dict()
    state = {**{name: value for name, value in wanted.items() if name.endswith(_COUNTER)}, **state}
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    wrong = sorted(name for name in set(wanted) & set(state) if wanted[name].shape != state[name].shape)
    if missing or extra or wrong:
        msg = (
            f"{path}: no {model.architecture} of width {model.width:g}, head {wanted['fc.weight'].shape[1]} to 1: "
            f"missing keys {missing}, unknown keys {extra}, wrong shapes {wrong}"
        )
        for name in wrong:
            msg += f"\n  {name}: found {tuple(state[name].shape)}, wanted {tuple(wanted[name].shape)}"
        raise CheckpointError(msg)
    if broken := sorted(name for name, value in state.items() if not bool(torch.isfinite(value).all())):
        msg = f"{path}: values that are not finite in {broken}; use a checkpoint from before the training diverged"
        raise CheckpointError(msg)
    model.load_state_dict(state, strict=True)
