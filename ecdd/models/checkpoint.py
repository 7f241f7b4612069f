"""Weights on disk: safetensors whose metadata name everything that has no weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ecdd.contract.schema import PolicyContract
from ecdd.errors import EcddError
from ecdd.files import parse_json, write_output
from ecdd.models.architectures import build_network
from ecdd.models.patch_network import PatchNetwork
from ecdd.models.state_dicts import CheckpointError, load_strict, read_public_state
from ecdd.models.tiny_ladeda import ARCHITECTURE as STUDENT

_KEY = "ecdd"
_STORAGE = {"float32": torch.float32, "float16": torch.float16}
# left out of the metadata where they have these values, so that files written before they existed stay as they are
_DEFAULTS = {"width": 1.0, "storage": "float32"}


@dataclass(frozen=True)
class CheckpointIdentity:
    """What a weight file says of itself.

    Attributes
    ----------
    architecture : str
        ``ladeda9`` or ``tiny_ladeda``.
    input_operator : str
        Fixed operator before the first convolution.
    operator_scale : float
        Factor on the operator's output.
    normalisation_mean, normalisation_std : tuple of float
        RGB constants, unit range, that the weights were trained with.
    pixel_scale : float
        Factor from level to unit range.
    input_size : int
        Side of the tensor, px.
    tensor_digest : str
        Digest of the contract sections the training pictures were prepared with (hex; empty when unknown).
    width : float
        Multiplier of the channels; 1 is the public architecture.
    storage : str
        ``float32``, or ``float16``: half the file, weights rounded to 11 significant bits. Loaded, all is float32.
    """

    architecture: str
    input_operator: str
    operator_scale: float
    normalisation_mean: tuple[float, float, float]
    normalisation_std: tuple[float, float, float]
    pixel_scale: float
    input_size: int
    tensor_digest: str
    width: float = 1.0
    storage: str = "float32"


def identity_of(model: PatchNetwork, policy: PolicyContract, tensor_digest: str = "") -> CheckpointIdentity:
    """Name everything about a network that its weights do not hold.

    Parameters
    ----------
    model : PatchNetwork
        Architecture, width and operator.
    policy : PolicyContract
        Normalisation and size of the tensors it is given.
    tensor_digest : str
        Of the contract whose tensors it was trained on; empty for a checkpoint of another project.

    Returns
    -------
    CheckpointIdentity
        For `save_weights`.
    """
    pixels = policy.pixel_pipeline
    mean, std = pixels.normalisation_mean, pixels.normalisation_std
    return CheckpointIdentity(
        architecture=model.architecture,
        input_operator=model.input_operator,
        operator_scale=model.operator_scale,
        normalisation_mean=(mean[0], mean[1], mean[2]),
        normalisation_std=(std[0], std[1], std[2]),
        pixel_scale=pixels.pixel_scale,
        input_size=pixels.input_size,
        tensor_digest=tensor_digest,
        width=model.width,
    )


def state_digest(state: dict[str, Tensor]) -> str:
    """Digest a state dict: SHA-256 over sorted names, dtypes, shapes and little-endian bytes.

    Parameters
    ----------
    state : dict of str to Tensor
        Weights and running statistics.

    Returns
    -------
    str
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        array = np.ascontiguousarray(state[name].detach().cpu().numpy())
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_weights(model: PatchNetwork, identity: CheckpointIdentity, path: Path) -> str:
    """Write weights and identity, atomically.

    Parameters
    ----------
    model : PatchNetwork
        Its architecture, width and operator must be the identity's.
    identity : CheckpointIdentity
        Goes into the metadata; its ``storage`` says how floating-point tensors are written.
    path : Path
        Target file.

    Returns
    -------
    str
        Digest of the state as stored (`state_digest`).

    Raises
    ------
    CheckpointError
        If model and identity differ, or a weight is too large for the storage.
    """
    for what in ("architecture", "width"):
        if getattr(model, what) != getattr(identity, what):
            msg = f"{path}: the model's {what} is {getattr(model, what)}, the identity says {getattr(identity, what)}"
            raise CheckpointError(msg)
    if (model.input_operator, model.operator_scale) != (identity.input_operator, identity.operator_scale):
        msg = (
            f"{path}: the model applies {model.input_operator} x {model.operator_scale}, the identity says "
            f"{identity.input_operator} x {identity.operator_scale}; save one of the two"
        )
        raise CheckpointError(msg)
    state = _stored(model, identity.storage, path)
    digest = state_digest(state)
    fields = {name: value for name, value in asdict(identity).items() if _DEFAULTS.get(name) != value}
    text = json.dumps({**fields, "state_digest": digest}, sort_keys=True)
    write_output(path, save(state, metadata={_KEY: text}))
    return digest


def _stored(model: PatchNetwork, storage: str, path: Path) -> dict[str, Tensor]:
    if storage not in _STORAGE:
        msg = f"{path}: storage {storage!r} is not known; choose one of {', '.join(_STORAGE)}"
        raise CheckpointError(msg)
    state = {}
    for name, tensor in model.state_dict().items():
        kept = tensor.detach().to(_STORAGE[storage]) if tensor.is_floating_point() else tensor.detach()
        if not bool(torch.isfinite(kept).all()):
            msg = f"{path}: {name} holds a value that is not finite as {storage}; store float32 or train again"
            raise CheckpointError(msg)
        state[name] = kept.contiguous()
    return state


def load_weights(path: Path) -> tuple[PatchNetwork, CheckpointIdentity]:
    """Read weights; strict: every key, shape and the state digest must be right.

    Parameters
    ----------
    path : Path
        A file written by `save_weights`.

    Returns
    -------
    tuple of PatchNetwork and CheckpointIdentity
        The model in evaluation mode, float32. The global random state is left as it was.

    Raises
    ------
    CheckpointError
        If the file is unreadable, has no identity, names an unknown architecture, or does not hold its state.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            state = {name: handle.get_tensor(name) for name in sorted(handle.keys())}
    except (OSError, SafetensorError) as error:
        msg = f"{path}: not a readable safetensors file ({error})"
        raise CheckpointError(msg) from error
    if _KEY not in metadata:
        msg = f"{path}: metadata has no {_KEY!r} entry, so the input operator is unknown; use load_public"
        raise CheckpointError(msg)
    try:
        fields = parse_json(metadata[_KEY], f"{path}: metadata {_KEY!r}")
        recorded = str(fields.pop("state_digest"))
        for name in ("normalisation_mean", "normalisation_std"):
            fields[name] = tuple(fields[name])
        identity = CheckpointIdentity(**fields)
        dtype = _STORAGE[identity.storage]
        model = _empty(identity.architecture, identity.input_operator, identity.operator_scale, identity.width)
    except (EcddError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{path}: metadata {_KEY!r} is malformed ({error})"
        raise CheckpointError(msg) from error
    if other := sorted(name for name, value in state.items() if value.is_floating_point() and value.dtype != dtype):
        msg = f"{path}: metadata say {identity.storage}, {other} are stored otherwise"
        raise CheckpointError(msg)
    if state_digest(state) != recorded:
        msg = f"{path}: state digest differs from the recorded {recorded[:12]}…; the weights were changed"
        raise CheckpointError(msg)
    load_strict(model, state, path)
    return model.eval(), identity


def load_public(
    path: Path, input_operator: str, operator_scale: float, architecture: str = STUDENT, width: float = 1.0
) -> PatchNetwork:
    """Read a public LaDeDa or Tiny-LaDeDa ``state_dict``. The file does not name its operator: the caller must.

    The student's public code averages its own 126x126 map: `PatchNetwork.native_map` and `PatchNetwork.native_logit`
    give the numbers of the checkpoint's origin; calling the model gives the 31x31 patch grid of this project.

    Parameters
    ----------
    path : Path
        A ``.pth`` file (`ecdd.models.state_dicts.read_public_state` says in which forms).
    input_operator, operator_scale : str, float
        What the checkpoint was trained with.
    architecture : str
        ``ladeda9`` (head 2048 to 1) or ``tiny_ladeda`` (head 8 to 1).
    width : float
        Multiplier of the channels; 1 is the public architecture.

    Returns
    -------
    PatchNetwork
        In evaluation mode, float32. The global random state is left as it was.

    Raises
    ------
    CheckpointError
        If the file is unreadable or keys or shapes differ.
    ValueError
        For an unknown architecture or operator, or a width out of range.
    """
    model = _empty(architecture, input_operator, operator_scale, width)
    load_strict(model, read_public_state(path), path)
    return model.eval()


def _empty(architecture: str, input_operator: str, operator_scale: float, width: float) -> PatchNetwork:
    with torch.random.fork_rng(devices=[]):
        return build_network(architecture, input_operator, operator_scale, width)


def check_operator(identity: CheckpointIdentity, input_operator: str, operator_scale: float, path: Path) -> None:
    """Compare a checkpoint's operator with the contract's.

    Raises
    ------
    CheckpointError
        If they differ: loading weights strictly cannot notice it.
    """
    if (identity.input_operator, identity.operator_scale) != (input_operator, operator_scale):
        msg = (
            f"{path}: trained with {identity.input_operator} x {identity.operator_scale}, the contract's "
            f"patch_grid says {input_operator} x {operator_scale}; use the contract the weights were trained with"
        )
        raise CheckpointError(msg)
