"""Refresh the test names in ``gates/declared.yaml``: ``python -m ecdd.evidence.declare [--check]``.

The declaration is committed, so that a deleted test is noticed: a run whose tests differ from it is not the
experiment. Titles, gates and clauses are written by hand; the names are read from the files, without running them.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

import yaml

from ecdd.evidence.declarations import load_declared


def declared_tests(file: Path, experiment: str) -> list[str]:
    """Names of the test functions of a file that carry an experiment's marker.

    Parameters
    ----------
    file : Path
        Test file.
    experiment : str
        Id.

    Returns
    -------
    list of str
        In the order of the file.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(_is_marker(decorator, experiment) for decorator in node.decorator_list)
    ]


def _is_marker(decorator: ast.expr, experiment: str) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr == "experiment"
        and any(isinstance(a, ast.Constant) and a.value == experiment for a in decorator.args)
    )


def refreshed(path: Path) -> str:
    """Text of the declaration with the names that the files hold now."""
    root = path.parent.parent
    content = {}
    for key, about in load_declared(path).items():
        file = root / about.file
        tests = declared_tests(file, key) if file.is_file() else []
        content[key] = about.model_dump() | {"tests": tests}
    header = (
        "# The experiments of the specification and their tests. A run that collects more or fewer of them is not\n"
        "# the experiment. After adding a test: python -m ecdd.evidence.declare\n"
    )
    return header + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


def main() -> int:
    """Command line; with ``--check`` exits 1 when the file and the tests differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    path = Path("gates/declared.yaml")
    text = refreshed(path)
    if options.check:
        return int(text != path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
