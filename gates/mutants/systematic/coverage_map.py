"""Which tests can see a line: each test file run once, in a process of its own, under coverage."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import coverage

from gates.mutants.systematic import LINES, OUTCOMES
from gates.mutants.systematic.near_lines import closeness, lines_around
from gates.mutants.systematic.sites import ROOT, Site
from gates.mutants.warm_processes import run_pytest

# they judge the tree itself, build wheels or run mutants: no mutant in memory reaches them
_OUTSIDE: Final = ("gates/mutants/", "gates/units/package/", "gates/own_model/nightly")


_BEGINNING: Final = 0.2  # seconds that any test costs, however short
_NAMED: Final = 20.0  # a file of tests that imports a module is so much more about it than its lines say
_PATIENCE: Final = 1800.0  # seconds; runs of pytest inside of pytest are slow under coverage


@dataclass(frozen=True)
class Seen:
    """Tests that run a line: one, or those of one run of pytest.

    Attributes
    ----------
    tests : tuple of str
        Node ids.
    seconds : float
        What they took of the processor without a mutant, under coverage.
    experiment : bool
        They are parts of an experiment's clause: red means that its record is red.
    """

    tests: tuple[str, ...]
    seconds: float
    experiment: bool


class CoverageMap:
    """What was traced in a folder, by test file.

    Only tests that pass without a mutant count: a test that is red anyway kills nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._files: list[tuple[coverage.CoverageData, dict[str, dict[str, object]], int]] = []
        for traced in sorted(folder.glob(f"*/{OUTCOMES}")):
            data = coverage.CoverageData(basename=str(traced.with_name(LINES)))
            data.read()
            run = sum(len(data.lines(name) or ()) for name in data.measured_files())
            self._files.append((data, json.loads(traced.read_text(encoding="utf-8")), run))
        if not self._files:
            msg = f"{folder}: no traced tests; run the campaign without --keep-map"
            raise FileNotFoundError(msg)

    @functools.cache  # noqa: B019 - one map a campaign; a module's lines are read once for all of its mutants
    def _of(self, path: str) -> list[tuple[dict[int, list[str]], dict[str, dict[str, object]], float]]:
        module = ".".join(Path(path).relative_to(ROOT).with_suffix("").parts)
        found = []
        for data, outcomes, run in self._files:
            if lines := data.contexts_by_lineno(path):
                file = ROOT / next(iter(outcomes), "").partition("::")[0]
                named = file.is_file() and module in file.read_text(encoding="utf-8")
                found.append((lines, outcomes, len(lines) / run * (_NAMED if named else 1.0)))
        return found

    def seen_by(self, site: Site) -> list[Seen]:
        """Tests that run the mutated line: experiments first, then those that are quick and about its module.

        A file of tests is about a module as far as the lines that it runs are that module's, and much more where it
        imports it by name; of its tests those come first that run what few others do around the line. Where a line
        runs while a module is imported or a fixture is made, every test of the file may depend on it.
        """
        found: list[tuple[float, Seen]] = []
        files = self._of(str(ROOT / site.path))
        around = lines_around((ROOT / site.path).read_text(encoding="utf-8"), site.line)
        close = closeness((_called(lines) for lines, _, _ in files), around)
        for lines, outcomes, share in files:
            # the compiler joins some jumps (continue, break) with what stands before them
            contexts = lines.get(site.line) or lines.get(site.line - 1, [])
            if not contexts:
                continue
            called = {context.rpartition("|")[0] for context in contexts if context.endswith("|call")}
            shared = any(not context.endswith("|call") for context in contexts)
            for test, outcome in outcomes.items():
                if outcome["passed"] and (shared or test in called):
                    seconds = float(str(outcome["seconds"]))
                    seen = Seen((test,), seconds, bool(outcome["experiment"]))
                    found.append(((seconds + _BEGINNING) / (share * close[test]), seen))
        return [seen for _, seen in sorted(found, key=lambda one: (not one[1].experiment, one[0], one[1].tests))]


def _called(lines: dict[int, list[str]]) -> dict[int, set[str]]:
    """Tests that run each line while they are called, not while they are set up."""
    return {
        line: {test for test, _, phase in (context.rpartition("|") for context in contexts) if phase == "call"}
        for line, contexts in lines.items()
    }


def test_files() -> list[Path]:
    """Every test file that a mutant in memory can reach, sorted."""
    found = (path.relative_to(ROOT) for path in (ROOT / "gates").rglob("test_*.py"))
    return sorted(path for path in found if not path.as_posix().startswith(_OUTSIDE))


def trace(folder: Path, jobs: int, done: Callable[[str], None]) -> None:
    """Run every test file that is not traced yet; ``done`` is told each file's name."""

    def one(path: Path) -> None:
        into = folder / path.with_suffix("").as_posix().replace("/", ".")
        if not (into / OUTCOMES).is_file():
            into.mkdir(parents=True, exist_ok=True)
            environment = {"ECDD_TRACE": str(into), "CI": os.environ.get("CI", "")}  # as the session
            plugins = ("gates.mutants.systematic.tracing",)
            run_pytest(
                [str(path)], into / "run", first=plugins, options=("--no-summary",), environment=environment,
                timeout=_PATIENCE,
            )  # fmt: skip
        done(path.as_posix())

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, test_files()))
