"""Pytest plugin that gives one module another source before anything of the project is read: ``ECDD_MUTATION``.

The files stay as they are, so what hashes them (the evidence, the gates' digest) sees the tree that it judges.
Processes that a test starts anew read the file and not the mutant: what only they would see counts as survived.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from gates.mutants.systematic import LOADED, VARIABLE


class _Loader(SourceFileLoader):
    def __init__(self, module: str, path: str, source: str) -> None:
        super().__init__(module, path)
        self._source = source

    def get_code(self, _fullname: str) -> CodeType:  # never from a cached .pyc
        if given := os.environ.get(VARIABLE):
            Path(given).with_suffix(LOADED).touch()
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, path: str, source: str) -> None:
        self._module, self._path, self._source = module, path, source

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        package = Path(self._path).name == "__init__.py"
        places = [str(Path(self._path).parent)] if package else None
        return importlib.util.spec_from_file_location(
            fullname,
            self._path,
            loader=_Loader(fullname, self._path, self._source),
            submodule_search_locations=places,
        )


def install(module: str, path: str, source: str) -> None:
    """Let the next import of a module run another source.

    Raises
    ------
    RuntimeError
        The module was imported before: the mutant would not take effect.
    """
    if module in sys.modules:
        msg = f"{module} was imported before its mutant could be planted"
        raise RuntimeError(msg)
    sys.meta_path.insert(0, _Finder(module, path, source))


def pytest_configure(config: pytest.Config) -> None:
    """Name what failed in a run without pytest's summary, which would write a report for people."""

    def name(kind: str, report: Any) -> None:
        if report.failed:
            reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
            lines = str(report.longrepr).splitlines()
            reporter.write_line(f"{kind} {report.nodeid}")
            reporter.write_line(next((line for line in lines if line.startswith("E  ")), f"E  {lines[-1:]}"))

    class Named:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            name("FAILED" if report.when == "call" else "ERROR", report)

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            name("ERROR", report)

    config.pluginmanager.register(Named())


if given := os.environ.get(VARIABLE):
    install(**json.loads(Path(given).read_text(encoding="utf-8")))
