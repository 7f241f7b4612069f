"""A small project of its own, in which the plugin is tried from outside: by exit code and by what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# what a run inside this process is the first to load is forgotten at its end, and loaded anew in the next one
import jinja2  # noqa: F401
import numpy as np  # noqa: F401
import pytest
import yaml

import ecdd.evidence.report
import ecdd.golden.golden_sets  # noqa: F401

INI = """
[pytest]
xfail_strict = true
addopts = --strict-markers
markers =
    experiment(id): experiment of a test
"""
GREEN = """
import pytest

@pytest.mark.experiment("E1.1")
def test_a(evidence):
    evidence.check("error", 0.25, limit=0.5, unit="level", worst=["astronaut"], mean=0.1, n=3)

@pytest.mark.experiment("E1.1")
def test_b(evidence):
    evidence.check("recall", 1.0, limit=0.9, op=">=", n=2)
"""
OTHER = """
import pytest

@pytest.mark.experiment("E2.1")
def test_c(evidence):
    evidence.check("count", 3, limit=3, op="==")
"""


@dataclass
class Project:
    """The small project, and what a run of it left."""

    pytester: pytest.Pytester

    @property
    def root(self) -> Path:
        return self.pytester.path

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def declare(self, tests: Mapping[str, list[str]]) -> None:
        content = {
            key: {
                "title": f"title of {key}",
                "gate": f"G{key[1]}",
                "clause": f"sentence of {key}",
                "file": f"gates/test_{key[1]}.py",
                "tests": names,
            }
            for key, names in tests.items()
        }
        self.write("gates/declared.yaml", yaml.safe_dump(content))

    def expect(self, entries: Mapping[str, Any]) -> str:
        self.write("expected.yaml", yaml.safe_dump(dict(entries)))
        return "--expected=expected.yaml"

    def run(self, *arguments: str, workers: int | None = 0) -> pytest.RunResult:
        """Run pytest; None workers is a run without xdist, as where it is not installed."""
        how = () if workers is None else ("-p", "xdist.plugin", "-n", str(workers))
        return self.pytester.runpytest_inprocess(*how, *arguments)

    def record(self, key: str, *, incomplete: bool = False) -> dict[str, Any]:
        name = f"{key}.incomplete.json" if incomplete else f"{key}.json"
        (path,) = sorted((self.root / "reports").glob(f"**/phase{key[1]}_results/{name}"))
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def has_record(self, key: str) -> bool:
        return bool(list((self.root / "reports").glob(f"**/phase{key[1]}_results/{key}.json")))


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two experiments, three green tests."""
    # of pytest's plugins only what a run asks for: each worker would import them all
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    made = Project(pytester)
    made.write("pytest.ini", INI)
    made.write("conftest.py", 'pytest_plugins = ["ecdd.evidence.pytest_plugin"]\n')
    made.write("gates/test_1.py", GREEN)
    made.write("gates/test_2.py", OTHER)
    made.declare({"E1.1": ["test_a", "test_b"], "E2.1": ["test_c"]})
    return made


Workers = Callable[[], int]


@pytest.fixture(params=[None, 0, 2], ids=["no_xdist", "one_process", "two_workers"])
def workers(request: pytest.FixtureRequest) -> int | None:
    found: int | None = request.param
    return found
