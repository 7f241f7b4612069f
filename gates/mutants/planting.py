"""Pytest plugin that plants one defect before anything is measured: ``-p gates.mutants.planting --mutant NAME``.

``--pictures N`` alone is the control of mutants whose runs see so many golden pictures: without any defect.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ecdd")
    group.addoption("--mutant", help="defect to plant into this run")
    group.addoption("--pictures", type=int, help="golden pictures of each set that this run sees")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    from gates.mutants.catalogue import MUTANTS

    name, fewer = config.getoption("--mutant"), config.getoption("--pictures")
    if name is None and fewer is not None:
        _show_fewer(fewer)
        return
    if name not in MUTANTS:
        msg = f"--mutant {name}: unknown; known are {', '.join(sorted(MUTANTS))}"
        raise pytest.UsageError(msg)
    if (pictures := MUTANTS[name].pictures) is not None:
        _show_fewer(pictures)
    if (plugin := MUTANTS[name].plant()) is not None:  # a defect of the suite itself takes effect in pytest's hooks
        config.pluginmanager.register(plugin, "ecdd-planted")


def _show_fewer(pictures: int) -> None:
    """Let the run's golden set hold so many pictures of each set, evenly drawn."""
    from ecdd.golden import golden_sets

    whole = golden_sets.load_checked

    def fewer(root: Path | str | None = None) -> golden_sets.GoldenSet:
        golden = whole(root)
        sets = [golden.by_set(name) for name in golden_sets.SETS]
        kept = [item for items in sets for item in items[:: max(1, len(items) // pictures)]]
        return replace(golden, manifest=golden.manifest.model_copy(update={"items": kept}))

    golden_sets.load_checked = fewer


def pytest_exception_interact(node: pytest.Item | pytest.Collector, report: Any) -> None:
    """Say at once what failed: these runs end without a summary, and so without a page that nobody would open."""
    node.config.get_terminal_writer().line(report.longreprtext)
