"""``ecdd models import``: public checkpoints become weight files that name their operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ecdd.models.checkpoint import load_weights
from gates.support.command_calls import call
from gates.support.public_networks import public_student, public_teacher


def run(*arguments: str) -> Any:
    return call("models import", list(arguments))


@pytest.mark.parametrize(("arch", "parameters"), [("tiny_ladeda", 1297), ("ladeda9", 13_641_793)])
def test_a_public_checkpoint_is_imported_with_its_operator(arch: str, parameters: int, tmp_path: Path) -> None:
    state = public_student(1) if arch == "tiny_ladeda" else public_teacher(1)
    torch.save({f"model.{name}": value for name, value in state.items()}, tmp_path / "public.pth")
    out = tmp_path / "weights.safetensors"
    done = run(str(tmp_path / "public.pth"), "--arch", arch, "--operator", "right_diag", "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert f"{parameters} parameters, right_diag x 1" in done.stdout
    model, identity = load_weights(out)
    assert (identity.architecture, identity.input_operator, identity.operator_scale) == (arch, "right_diag", 1.0)
    assert identity.tensor_digest == ""
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_npr_is_scaled_by_two_thirds_where_nothing_else_is_said(tmp_path: Path) -> None:
    torch.save(public_student(1), tmp_path / "public.pth")
    for arguments, scale in (((), 2 / 3), (("--scale", "1"), 1.0)):
        out = tmp_path / f"{len(arguments)}.safetensors"
        done = run(
            str(tmp_path / "public.pth"), "--arch", "tiny_ladeda", "--operator", "NPR", "--out", str(out), *arguments
        )
        assert done.exit_code == 0, done.stderr
        assert load_weights(out)[1].operator_scale == scale


@pytest.mark.parametrize(
    ("arch", "operator", "message"),
    [
        ("ladeda9", "NPR", "missing"),
        ("tiny_ladeda", "npr", "choose one of NPR, raw, x_grad"),
        ("resnet", "NPR", "choose one of ladeda9, lite, tiny_ladeda"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    arch: str, operator: str, message: str, tmp_path: Path
) -> None:
    torch.save(public_student(1), tmp_path / "public.pth")
    out = tmp_path / "weights.safetensors"
    done = run(str(tmp_path / "public.pth"), "--arch", arch, "--operator", operator, "--out", str(out))
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "public.pth").write_bytes(b"not a checkpoint")
    done = run(str(tmp_path / "public.pth"), "--arch", "ladeda9", "--operator", "NPR", "--out", str(tmp_path / "w"))
    assert done.exit_code == 2
    assert "not a readable checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
