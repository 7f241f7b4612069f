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

from ecdd.files import write_bytes
from ecdd.models.tiny_ladeda import ARCHITECTURE, TinyLaDeDa

_KEY = "ecdd"


class CheckpointError(Exception):
    """A checkpoint cannot be read, or was made for another operator, architecture or preprocessing."""


@dataclass(frozen=True)
class CheckpointIdentity:
    """What a weight file says of itself.

    Attributes
    ----------
    architecture : str
        ``tiny_ladeda``.
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
    """

    architecture: str
    input_operator: str
    operator_scale: float
    normalisation_mean: tuple[float, float, float]
    normalisation_std: tuple[float, float, float]
    pixel_scale: float
    input_size: int
    tensor_digest: str


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


def save_weights(model: TinyLaDeDa, identity: CheckpointIdentity, path: Path) -> str:
    """Write weights and identity, atomically.

    Parameters
    ----------
    model : TinyLaDeDa
        Its operator must be the identity's.
    identity : CheckpointIdentity
        Goes into the metadata.
    path : Path
        Target file.

    Returns
    -------
    str
        Digest of the state (`state_digest`).

    Raises
    ------
    CheckpointError
        If model and identity name different operators.
    """
    if (model.input_operator, model.operator_scale) != (identity.input_operator, identity.operator_scale):
        msg = (
            f"{path}: the model applies {model.input_operator} x {model.operator_scale}, the identity says "
            f"{identity.input_operator} x {identity.operator_scale}; save one of the two"
        )
        raise CheckpointError(msg)
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    digest = state_digest(state)
    text = json.dumps({**asdict(identity), "state_digest": digest}, sort_keys=True)
    write_bytes(path, save(state, metadata={_KEY: text}))
    return digest


def load_weights(path: Path) -> tuple[TinyLaDeDa, CheckpointIdentity]:
    """Read weights; strict: every key, shape and the state digest must be right.

    Parameters
    ----------
    path : Path
        A file written by `save_weights`.

    Returns
    -------
    tuple of TinyLaDeDa and CheckpointIdentity
        The model in evaluation mode, float32.

    Raises
    ------
    CheckpointError
        If the file is unreadable, has no identity, names another architecture, or does not hold its state.
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
        fields = json.loads(metadata[_KEY])
        recorded = str(fields.pop("state_digest"))
        for name in ("normalisation_mean", "normalisation_std"):
            fields[name] = tuple(fields[name])
        identity = CheckpointIdentity(**fields)
        model = TinyLaDeDa(identity.input_operator, identity.operator_scale)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{path}: metadata {_KEY!r} is malformed ({error})"
        raise CheckpointError(msg) from error
    if identity.architecture != ARCHITECTURE:
        msg = f"{path}: architecture {identity.architecture!r}, expected {ARCHITECTURE!r}"
        raise CheckpointError(msg)
    if state_digest(state) != recorded:
        msg = f"{path}: state digest differs from the recorded {recorded[:12]}…; the weights were changed"
        raise CheckpointError(msg)
    _load_strict(model, state, path)
    return model.eval(), identity


def load_public(path: Path, input_operator: str, operator_scale: float) -> TinyLaDeDa:
    """Read a public Tiny-LaDeDa ``state_dict`` (head 8 to 1). The file does not name its operator: the caller must.

    Parameters
    ----------
    path : Path
        A ``.pth`` file with a plain state dict, or one under the key ``model`` or ``state_dict``.
    input_operator, operator_scale : str, float
        What the checkpoint was trained with.

    Returns
    -------
    TinyLaDeDa
        In evaluation mode.

    Raises
    ------
    CheckpointError
        If the file is unreadable or keys or shapes differ.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        msg = f"{path}: not a readable checkpoint ({type(error).__name__}: {error})"
        raise CheckpointError(msg) from error
    for key in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        msg = f"{path}: holds no state dict"
        raise CheckpointError(msg)
    state = {str(name).removeprefix("module."): value for name, value in loaded.items()}
    model = TinyLaDeDa(input_operator, operator_scale)
    _load_strict(model, state, path)
    return model.eval()


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


def _load_strict(model: TinyLaDeDa, state: dict[str, Tensor], path: Path) -> None:
    wanted = model.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    wrong = sorted(n for n in set(wanted) & set(state) if wanted[n].shape != state[n].shape)
    if missing or extra or wrong:
        msg = (
            f"{path}: missing keys {missing}, unknown keys {extra}, wrong shapes {wrong}; "
            "expected a Tiny-LaDeDa, head 8 to 1"
        )
        raise CheckpointError(msg)
    model.load_state_dict(state, strict=True)
