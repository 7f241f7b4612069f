"""Every wrong call of ``ecdd gates`` is one line and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ecdd.bundle import bundle_path
from ecdd.cli import main
from ecdd.evidence import gates_run
from ecdd.specification import CONTRACT, GOLDEN

Prepare = Callable[[Path], list[str]]


def _damaged(folder: Path) -> list[str]:
    shutil.copytree(bundle_path("tiny"), folder / "bundle")
    with (folder / "bundle" / "model.tflite").open("ab") as stream:
        stream.write(b"x")
    return ["--bundle", str(folder / "bundle")]


def _other_contract(folder: Path) -> list[str]:
    text = CONTRACT.read_text(encoding="utf-8")
    changed = text.replace('resize_kernel: {value: "bilinear"', 'resize_kernel: {value: "bicubic"')
    assert changed != text
    (folder / "contract.yaml").write_text(changed, encoding="utf-8")
    return ["--contract", str(folder / "contract.yaml")]


def _changed_golden(folder: Path) -> list[str]:
    shutil.copytree(GOLDEN, folder / "golden")
    (folder / "golden" / "in_scope" / "real_oath_a.jpg").write_bytes(b"x")
    return ["--golden", str(folder / "golden")]


def _file_as_folder(folder: Path) -> list[str]:
    (folder / "file").write_text("x", encoding="utf-8")
    return ["--out", str(folder / "file" / "run")]


WRONG: dict[str, tuple[Prepare, str]] = {
    "unknown_gate": (lambda _: ["G9"], "G9: no such gate"),
    "unknown_experiment": (lambda _: ["E1.99"], "E1.99: no such gate"),
    "missing_bundle": (lambda _: ["--bundle", "nowhere"], "nowhere"),
    "claims_of_a_missing_bundle": (lambda _: ["claims", "--bundle", "nowhere"], "nowhere"),
    "claims_of_a_missing_contract": (lambda _: ["claims", "--contract", "nowhere.yaml"], "nowhere.yaml"),
    "damaged_bundle": (_damaged, "model.tflite"),
    "missing_contract": (lambda _: ["--contract", "nowhere.yaml"], "nowhere.yaml"),
    "golden_of_another_contract": (_other_contract, "golden set of another contract"),
    "changed_golden": (_changed_golden, "real_oath_a.jpg"),
    "missing_golden": (lambda _: ["--golden", "nowhere"], "nowhere"),
    "missing_data": (lambda _: ["--data", "nowhere"], "--data nowhere"),
    "missing_expected": (lambda _: ["--expected", "nowhere.yaml"], "nowhere.yaml"),
    "no_folder": (_file_as_folder, "--out"),
    "no_number": (lambda _: ["-n", "many"], "--jobs many"),
    "freezing_what_came_along": (lambda _: ["G1", "--", "--snapshot-update"], "--snapshot-update needs"),
}


def _call(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    monkeypatch.setattr("sys.argv", ["ecdd", "gates", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_call_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, line = WRONG[name]
    arguments = prepare(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    code, said = _call(arguments, monkeypatch, capsys)
    assert code == 2
    assert line in said
    assert len(said.strip().splitlines()) == 1
    assert list(empty.iterdir()) == []


def test_claims_are_the_files_of_what_the_contract_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment that is not claimed is not run, and one that is named beside the claims is."""
    contract = tmp_path / "contract.yaml"
    contract.write_text(
        re.sub(r"claims: \{value: \[.*?\]", 'claims: {value: ["E1.2", "E100.1", "E5.4"]', CONTRACT.read_text("utf-8"))
    )
    ran: list[list[str]] = []
    monkeypatch.setattr(
        gates_run.subprocess, "run", lambda command, **_: ran.append(command) or CompletedProcess([], 0)
    )
    for chosen in (("claims",), ("G3", "Claims", "E1.2")):
        request = gates_run.GatesRequest(chosen, None, contract, None, None, "0", tmp_path / "out", None)
        assert gates_run.run_gates(request) == 0
    found = [[Path(one).name[5:9] for one in command if "/test_e" in one] for command in ran]
    assert found[0] == ["e1_2", "e1_2", "e5_4"], "a clause, its rules, a clause without"
    assert found[1] == [*("e3_1 " * 2 + "e3_2 " + "e3_3 " * 2 + "e3_4 e3_5 e3_6 e3_7 e1_2 e1_2 e5_4").split()]
    contract.write_text(re.sub(r'"E1.2", "E100.1", "E5.4"', '"E100.1"', contract.read_text("utf-8")))
    with pytest.raises(gates_run.WrongCallError, match="names no experiment of the specification"):
        gates_run.run_gates(gates_run.GatesRequest(("claims",), None, contract, None, None, "0", None, None))


def test_two_runs_into_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, said = _call(["E3.1", "--out", str(tmp_path)], monkeypatch, capsys)
    finally:
        os.close(held)
    assert code == 2
    assert "another run is writing there" in said
    assert list(tmp_path.iterdir()) == []
