"""Every planted defect must turn its experiment red, in the metric that is meant to show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gates.mutants.catalogue import MUTANTS
from gates.mutants.killing import control, control_files, kill


def _options(config: pytest.Config) -> list[str]:
    return [f"{flag}={config.getoption(flag)}" for flag in ("--bundle", "--golden") if config.getoption(flag)]


@pytest.mark.parametrize("name", list(MUTANTS))
def test_mutant_is_killed(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base  # that of the clauses of this session
    request.node.user_properties.append(("mutant", f"{MUTANTS[name].gate} {name}"))
    outcome = kill(name, tmp_path, _options(request.config), shared=shared)
    assert outcome.killed, f"{name}: {outcome.reason}"


@pytest.mark.parametrize("file", control_files())
def test_the_same_tests_are_green_without_a_mutant(file: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A gate that is always red would kill every mutant and prove nothing."""
    outcome = control(file, tmp_path, _options(request.config))
    assert outcome.killed, f"red without a mutant: {outcome.reason}"
