"""The commands for contracts and bundles, run as a user runs them."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecdd import cli
from ecdd.contract.loading import load_contract
from gates.support.edited_bundles import SOURCE_CONTRACT, make_bundle

CONTRACT = str(SOURCE_CONTRACT)


@dataclass(frozen=True)
class Outcome:
    returncode: int
    stdout: str
    stderr: str


def ecdd(*arguments: str) -> Outcome:
    """Run the program in this process: a process of its own costs a second on a busy machine."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["ecdd", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


def test_check(tmp_path: Path) -> None:
    contract = load_contract(SOURCE_CONTRACT)
    good = ecdd("contract", "check", CONTRACT)
    assert good.returncode == 0
    assert contract.digest in good.stdout
    assert f"{len(contract.proposed)} proposed" in good.stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text(SOURCE_CONTRACT.read_text().replace("t_fake:", "t_fak:"))
    refused = ecdd("contract", "check", str(bad))
    assert refused.returncode == cli.USAGE_ERROR
    assert "operating_point.t_fak: unknown key" in refused.stderr
    assert "operating_point.t_fake: missing" in refused.stderr


def test_release_refuses_a_proposed_value(tmp_path: Path) -> None:
    contract = load_contract(SOURCE_CONTRACT)
    frozen = contract.with_values(contract.values, status="frozen")
    frozen.dump(tmp_path / "frozen.yaml")
    assert ecdd("contract", "check", "--release", str(tmp_path / "frozen.yaml")).returncode == 0
    key = "pooling.top_k_ratio"
    frozen.with_values({key: frozen.values[key]}, status="proposed").dump(tmp_path / "proposed.yaml")
    refused = ecdd("contract", "check", "--release", str(tmp_path / "proposed.yaml"))
    assert refused.returncode == 1
    assert key in refused.stderr
    assert ecdd("contract", "check", str(tmp_path / "proposed.yaml")).returncode == 0


def test_show_and_schema() -> None:
    contract = load_contract(SOURCE_CONTRACT)
    shown = json.loads(ecdd("contract", "show", CONTRACT, "--json").stdout)
    assert shown["digest"] == contract.digest
    assert {row["key"]: row["value"] for row in shown["knobs"]} == contract.values
    proposed = json.loads(ecdd("contract", "show", CONTRACT, "--json", "--proposed").stdout)
    assert [row["key"] for row in proposed["knobs"]] == contract.proposed
    table = ecdd("contract", "show", CONTRACT).stdout
    assert all(key in table for key in contract.values)
    schema = json.loads(ecdd("contract", "schema").stdout)
    kernel = schema["$defs"]["PixelPipeline"]["properties"]["resize_kernel"]
    assert kernel["properties"]["set_by"] == {"const": "E1.8"}
    assert kernel["x-unit"] == "none"


def test_diff(tmp_path: Path) -> None:
    changed = load_contract(SOURCE_CONTRACT).with_values({"operating_point.t_fake": 0.987})
    changed.dump(tmp_path / "other.yaml")
    result = ecdd("contract", "diff", CONTRACT, str(tmp_path / "other.yaml"))
    assert result.returncode == 1
    assert "operating_point.t_fake" in result.stdout
    assert "0.987" in result.stdout
    assert ecdd("contract", "diff", CONTRACT, CONTRACT).returncode == 0
    listed = json.loads(ecdd("contract", "diff", CONTRACT, str(tmp_path / "other.yaml"), "--json").stdout)
    assert [item["key"] for item in listed["changes"]] == ["operating_point.t_fake"]
    missing = ecdd("contract", "diff", CONTRACT, str(tmp_path / "none.yaml"))
    assert missing.returncode == cli.USAGE_ERROR
    assert "no such file" in missing.stderr


def test_bundle_verify_and_show(tmp_path: Path) -> None:
    root = make_bundle(tmp_path / "bundle")
    assert ecdd("bundle", "verify", str(root)).returncode == 0
    shown = json.loads(ecdd("bundle", "show", str(root), "--json").stdout)
    assert shown["manifest"]["name"] == "test"
    assert "payload digest" in ecdd("bundle", "show", str(root)).stdout
    (root / "model.tflite").write_bytes(b"")
    refused = ecdd("bundle", "verify", str(root))
    assert refused.returncode == cli.USAGE_ERROR
    assert "mismatched files: model.tflite" in refused.stderr
    assert ecdd("bundle", "show", str(root)).returncode == cli.USAGE_ERROR


def test_unknown_command_and_version() -> None:
    assert ecdd("contrct").returncode == cli.USAGE_ERROR
    assert ecdd("--version").stdout.startswith("ecdd ")


def test_a_missing_library_is_one_line_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command's module cannot import torch: as on a machine that has the base installation only."""
    error = ModuleNotFoundError("No module named 'torch'", name="torch")

    def fail(_name: str) -> None:
        raise error

    monkeypatch.setattr(cli, "load_command", fail)
    result = ecdd("bundle", "verify")
    assert result.returncode == cli.USAGE_ERROR
    assert result.stderr.startswith("ecdd: this command needs torch, which is not installed; install the extra train ")
    assert "pip install '.[train]' in its checkout" in result.stderr
    assert result.stderr.count("\n") == 1
