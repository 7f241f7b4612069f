"""What both trainings, on whole pictures and on faces, keep in a run's folder, and how they begin and end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ecdd.contract.loading import LoadedContract
from ecdd.files import write_text
from ecdd.models.checkpoint import check_operator, identity_of, load_weights, save_weights
from ecdd.models.patch_network import PatchNetwork
from ecdd.training.config import FaceTrainingConfig, TrainingConfig, TrainingError
from ecdd.training.processes import Processes
from ecdd.training.training_record import environment

Progress = Callable[[str], None]
INPUTS_FILE: Final = "inputs.json"
WEIGHTS_NAME: Final = "weights.safetensors"
RECORD_NAME: Final = "training_record.json"
FOLDS_FOLDER, SHIPPED_FOLDER = "folds", "shipped"


def start_weights(path: Path, contract: LoadedContract) -> PatchNetwork:
    """Load the weights that a training begins with or follows; refuses another input operator than the contract's."""
    model, identity = load_weights(path)
    grid = contract.policy.patch_grid
    check_operator(identity, grid.input_operator, grid.operator_scale, path)
    return model


def same_inputs(out: Path, chosen: Mapping[str, Any]) -> None:
    """Note what a training depends on in its folder, or refuse to resume one that was begun with other inputs.

    Raises
    ------
    TrainingError
        The folder's state is of other settings, data or contract.
    """
    path, text = out / INPUTS_FILE, json.dumps(chosen, indent=2, sort_keys=True) + "\n"
    if not path.is_file():
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        msg = f"{path}: the folder holds a training with other settings, data or contract; choose another --out"
        raise TrainingError(msg)


def write_weights(model: PatchNetwork, contract: LoadedContract, out: Path) -> str:
    """Write weights with their identity; gives the digest of the state."""
    return save_weights(model, identity_of(model, contract.policy, contract.tensor_digest), out / WEIGHTS_NAME)


def write_record(
    out: Path,
    model: PatchNetwork,
    contract: LoadedContract,
    config: TrainingConfig | FaceTrainingConfig,
    processes: Processes,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the weights that ship and the training record beside them.

    Parameters
    ----------
    out : Path
        Folder of the run.
    model : PatchNetwork
        That ships.
    contract, config, processes
        Of the run.
    about : mapping of str to object
        What the kind of training adds: data, trainings, results.

    Returns
    -------
    dict
        The record; only the first process writes it, and only there it holds the digest of the weights.
    """
    record: dict[str, Any] = {
        "architecture": config.architecture.model_dump(mode="json"),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "config": config.model_dump(mode="json"),
        **environment(),
        "processes": processes.count,
        "device": processes.device,
        **about,
    }
    if processes.first:
        record["state_digest"] = write_weights(model, contract, out)
        text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"
        write_text(out / RECORD_NAME, text)
    return record
