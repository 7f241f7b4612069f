"""Which tests look at what a line decides: those that go where few others go, in the function around it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

_ANYWHERE: Final = 1e-3  # of a test that runs no line of the function, beside 1 where it alone runs a line of it


def lines_around(source: str, line: int) -> frozenset[int]:
    """Lines of the functions in which a line has its effect.

    Parameters
    ----------
    source : str
        A module.
    line : int
        From 1.

    Returns
    -------
    frozenset of int
        Of the innermost function around the line; of a constant, or of what a class says of its instances, lines of
        the functions that name it. Empty where nothing does.
    """
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [node for node in functions if node.lineno <= line <= (node.end_lineno or node.lineno)]
    if inside:
        return _lines(max(inside, key=lambda node: node.lineno))
    names = {name for node in ast.walk(tree) for name in _assigned(node, line)}
    users = [node for node in functions if any(_name(part) in names for part in ast.walk(node))]
    return frozenset().union(*map(_lines, users))


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[int]:
    return frozenset(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _assigned(node: ast.AST, line: int) -> set[str]:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not node.lineno <= line <= (node.end_lineno or node.lineno):
        return set()
    return {_name(target) for target in (node.targets if isinstance(node, ast.Assign) else [node.target])} - {""}


def _name(node: ast.AST) -> str:
    """What a name or an attribute is called; empty for anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def closeness(tests_by_line: Iterable[Mapping[int, Iterable[str]]], around: frozenset[int]) -> dict[str, float]:
    """How much each test looks at some lines: every line counts by how few tests run it.

    A comparison is run by all who pass, and what follows it by the few who ask where the limit lies.
    """
    ran: dict[int, set[str]] = defaultdict(set)
    for lines in tests_by_line:
        for line in around & lines.keys():
            ran[line].update(lines[line])
    found: dict[str, float] = defaultdict(lambda: _ANYWHERE)
    for tests in ran.values():
        for test in tests:
            found[test] += 1 / len(tests)
    return found
