"""Who opens a gate's folder finds its clauses and nothing else, and no gate leans on another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

GATES = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path for path in GATES.iterdir() if re.fullmatch(r"g\d|phase\d", path.name))
SHELVES = {"units", "rules", "__pycache__"}
CLAUSE_OR_SHARED = re.compile(r"test_e\d+_\d+_\w+\.py|conftest\.py|__init__\.py")


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_a_gate_folder_holds_clauses_and_units() -> None:
    assert len(FOLDERS) == 8
    found = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.name not in SHELVES]
    assert [str(path) for path in found if not CLAUSE_OR_SHARED.fullmatch(path.name)] == []


def test_no_gate_imports_from_another() -> None:
    crossing = []
    for folder in FOLDERS:
        others = {f"gates.{other.name}" for other in FOLDERS if other != folder}
        for file in sorted(folder.rglob("*.py")):
            names = {".".join(name.split(".")[:2]) for name in _imported(file)}
            crossing += [f"{file.relative_to(GATES)} imports {name}" for name in sorted(names & others)]
    assert crossing == []
