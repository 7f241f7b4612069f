"""Checkpoints: strict loading, identity of what has no weights, damage."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ecdd.models.checkpoint import (
    CheckpointError,
    CheckpointIdentity,
    check_operator,
    load_public,
    load_weights,
    save_weights,
)
from ecdd.models.tiny_ladeda import ARCHITECTURE, seeded_student

IDENTITY = CheckpointIdentity(
    architecture=ARCHITECTURE,
    input_operator="NPR",
    operator_scale=2 / 3,
    normalisation_mean=(0.485, 0.456, 0.406),
    normalisation_std=(0.229, 0.224, 0.225),
    pixel_scale=1 / 255,
    input_size=256,
    tensor_digest="0" * 64,
)


def test_round_trip_keeps_weights_and_identity(tmp_path: Path) -> None:
    model, path = seeded_student(0), tmp_path / "weights.safetensors"
    save_weights(model, IDENTITY, path)
    loaded, identity = load_weights(path)
    assert identity == IDENTITY
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert not loaded.training
    assert path.read_bytes() == (save_weights(model, IDENTITY, tmp_path / "b"), (tmp_path / "b").read_bytes())[1]


def test_another_operator_is_refused_on_save_and_against_the_contract(tmp_path: Path) -> None:
    other = dataclasses.replace(IDENTITY, operator_scale=1.0)
    with pytest.raises(CheckpointError, match=r"the identity says NPR x 1\.0"):
        save_weights(seeded_student(0), other, tmp_path / "w")
    with pytest.raises(CheckpointError, match="patch_grid"):
        check_operator(other, "NPR", 2 / 3, tmp_path / "w")
    check_operator(IDENTITY, "NPR", 2 / 3, tmp_path / "w")


@pytest.mark.parametrize("cut", [0, 7, 100, 2000])
def test_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(seeded_student(0), IDENTITY, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_weights(path)


def test_changed_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(seeded_student(0), IDENTITY, path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="state digest"):
        load_weights(path)


def test_file_without_identity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(seeded_student(0).state_dict(), path)
    with pytest.raises(CheckpointError, match="input operator is unknown"):
        load_weights(path)


@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
def test_public_state_dict_loads_with_the_operator_given(tmp_path: Path, wrap: str | None) -> None:
    model, path = seeded_student(3), tmp_path / "public.pth"
    state = model.state_dict()
    torch.save({wrap: state} if wrap else state, path)
    loaded = load_public(path, "right_diag", 1.0)
    assert loaded.input_operator == "right_diag"
    assert torch.equal(loaded.fc.weight, model.fc.weight)


def test_missing_key_and_wrong_shape_are_refused(tmp_path: Path) -> None:
    state, path = seeded_student(3).state_dict(), tmp_path / "public.pth"
    state.pop("fc.bias")
    state["fc.weight"] = torch.zeros(1, 32)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"missing keys \['fc\.bias'\].*wrong shapes \['fc\.weight'\]"):
        load_public(path, "NPR", 2 / 3)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_public(path, "NPR", 2 / 3)
