"""Every planted defect must turn its experiment red, in the metric that is meant to show it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gates.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]


def run_planted(mutant: Mutant, name: str, folder: Path, config: pytest.Config) -> subprocess.CompletedProcess[str]:
    """Run the mutant's tests in a process of their own, with the defect planted."""
    options = [f"{flag}={config.getoption(flag)}" for flag in ("--bundle", "--golden") if config.getoption(flag)]
    command = [sys.executable, "-m", "pytest", mutant.tests, "-p", "gates.mutants.planting", "--mutant", name]
    command += ["--report-dir", str(folder), "-n", "0", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", list(MUTANTS))
def test_mutant_is_killed(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    mutant = MUTANTS[name]
    request.node.user_properties.append(("mutant", f"{mutant.gate} {name}"))
    finished = run_planted(mutant, name, tmp_path, request.config)
    shown = f"{finished.stdout[-3000:]}\n{finished.stderr[-1000:]}"
    assert finished.returncode == 1, f"{name} survived: exit code {finished.returncode}\n{shown}"
    path = tmp_path / f"phase{mutant.experiment[1]}_results" / f"{mutant.experiment}.incomplete.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    failing = [metric["name"] for metric in record["metrics"] if metric["verdict"] == "fail"]
    assert mutant.metric in failing, f"{name}: red for another reason: {failing}, {record['failures']}\n{shown}"


@pytest.mark.parametrize("tests", sorted({mutant.tests for mutant in MUTANTS.values()}))
def test_the_same_tests_are_green_without_a_mutant(tests: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A gate that is always red would kill every mutant and prove nothing."""
    options = [f"{f}={request.config.getoption(f)}" for f in ("--bundle", "--golden") if request.config.getoption(f)]
    command = [sys.executable, "-m", "pytest", tests, "--report-dir", str(tmp_path), "-n", "0", "-q", *options]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, f"red without a mutant:\n{finished.stdout[-3000:]}"
