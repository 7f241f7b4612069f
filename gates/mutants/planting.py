"""Pytest plugin that plants one defect before anything is measured: ``-p gates.mutants.planting --mutant NAME``."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("ecdd").addoption("--mutant", help="defect to plant into this run")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    from gates.mutants.catalogue import MUTANTS

    name = config.getoption("--mutant")
    if name not in MUTANTS:
        msg = f"--mutant {name}: unknown; known are {', '.join(sorted(MUTANTS))}"
        raise pytest.UsageError(msg)
    if (plugin := MUTANTS[name].plant()) is not None:  # a defect of the suite itself takes effect in pytest's hooks
        config.pluginmanager.register(plugin, "ecdd-planted")


def pytest_exception_interact(node: pytest.Item | pytest.Collector, report: Any) -> None:
    """Say at once what failed: these runs end without a summary, and so without a page that nobody would open."""
    node.config.get_terminal_writer().line(report.longreprtext)
