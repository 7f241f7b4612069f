"""What a clause file says of itself: clause, reason, tests, and the metrics with the limits that they are held to.

A clause file is ``gates/<gate>/test_e<n>_<m>_<name>.py``. Its module docstring begins ``E<n>.<m> <title>: <clause>``;
the second paragraph says why the clause matters and how it fails. Rules that a clause rests on (properties, numbers
known by hand) lie beside it in ``rules/test_e<n>_<m>_<name>.py``. Files are read, never run.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.evidence.declarations import DeclarationError, Declared
from ecdd.evidence.merging import experiment_order
from ecdd.evidence.verdicts import RULES_BROKEN

RULES: Final = "rules"  # folder
_NAME: Final = re.compile(r"test_e(\d+)_(\d+)_\w+\.py")
_FIRST: Final = re.compile(r"(E\d+\.\d+) ([^:]+): (.+)")
_POLICY: Final = re.compile(r"\b(?:bundle\.contract\.policy|contract\.policy|policy)\.")


@dataclass(frozen=True)
class Check:
    """A metric as the source states it.

    Attributes
    ----------
    name : str
        Where a part is computed, its expression stands in braces.
    op : str
        ``value op limit`` must hold.
    limit : str
        Key of the contract, number, or expression.
    unit : str
        Empty where the source states none.
    """

    name: str
    op: str
    limit: str
    unit: str


@dataclass(frozen=True)
class Clause:
    """One clause file.

    Attributes
    ----------
    key, declared : str, Declared
        Id, and what a run is held to.
    why : str
        Why it matters and how it fails.
    checks : tuple of Check
        In the order of the source.
    """

    key: str
    declared: Declared
    why: str
    checks: tuple[Check, ...]


def read_clauses(root: Path) -> dict[str, Clause]:
    """Read every clause file of a project.

    Parameters
    ----------
    root : Path
        Folder that holds ``gates/``.

    Returns
    -------
    dict of str to Clause
        In order of the ids.

    Raises
    ------
    DeclarationError
        There is none, two have one id, or a docstring does not begin as it must; names the file.
    """
    found: dict[str, Clause] = {}
    for path in sorted((root / "gates").glob("*/test_e*.py")):
        if _NAME.fullmatch(path.name):
            clause = read_clause(path, root)
            if clause.key in found:
                raise DeclarationError(f"{path}: {clause.key} is {found[clause.key].declared.file} already")
            found[clause.key] = clause
    if not found:
        raise DeclarationError(f"{root / 'gates'}: no clause file; run this in the folder that holds gates/")
    return {key: found[key] for key in sorted(found, key=experiment_order)}


def read_clause(path: Path, root: Path) -> Clause:
    """Read one clause file; parameters and errors as in `read_clauses`."""
    match = _NAME.fullmatch(path.name)
    tree = _tree(path)
    paragraphs = [" ".join(text.split()) for text in (ast.get_docstring(tree) or "").split("\n\n")]
    first = _FIRST.fullmatch(paragraphs[0])
    key = f"E{match[1]}.{match[2]}" if match else "E<n>.<m>"
    if first is None or first[1] != key or len(paragraphs) < 2:
        raise DeclarationError(
            f"{path}: its docstring must begin '{key} <title>: <clause>', and say in a second paragraph why the clause "
            f"matters and how it fails; it begins '{paragraphs[0][:60]}'"
        )
    tests = declared_tests(path, key)
    if not tests:
        raise DeclarationError(f"{path}: no test carries @pytest.mark.experiment({key!r})")
    rules_file, rules = _rules(path, root, key)
    gate = path.parent.name.upper() if re.fullmatch(r"g\d+", path.parent.name) else path.parent.name
    file = path.relative_to(root).as_posix()
    about = Declared(
        title=first[2], gate=gate, clause=first[3], file=file, tests=tests, rules_file=rules_file, rules=rules
    )
    checks = [*_checks(path, root), *([Check(RULES_BROKEN, "==", "0", "rule")] if rules else [])]
    return Clause(key, about, " ".join(paragraphs[1:]), tuple(dict.fromkeys(checks)))


def _rules(clause: Path, root: Path, key: str) -> tuple[str, list[str]]:
    """File of the rules that a clause rests on, and its tests; all of them belong to the experiment."""
    files = sorted((clause.parent / RULES).glob(f"test_e{key[1:].replace('.', '_')}_*.py"))
    if not files:
        return "", []
    marked = f"pytestmark = pytest.mark.experiment({key!r}, rules=True)"
    if len(files) > 1 or marked not in map(ast.unparse, _tree(files[0]).body):
        names = ", ".join(file.name for file in files)
        raise DeclarationError(f"{clause.parent / RULES}: {names}: rules of {key} are one file, with {marked}")
    tests = [node.name for node in _tree(files[0]).body if isinstance(node, ast.FunctionDef)]
    return files[0].relative_to(root).as_posix(), [name for name in tests if name.startswith("test_")]


def declared_tests(file: Path, experiment: str) -> list[str]:
    """Names of the test functions of a file that carry an experiment's marker, in the order of the file."""
    return [
        node.name
        for node in _tree(file).body
        if isinstance(node, ast.FunctionDef)
        and any(_is_marker(decorator, experiment) for decorator in node.decorator_list)
    ]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_marker(decorator: ast.expr, experiment: str) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr == "experiment"
        and any(isinstance(a, ast.Constant) and a.value == experiment for a in decorator.args)
    )


def _checks(path: Path, root: Path) -> Iterator[Check]:
    """Checks of a file, then those of the helpers under ``gates/`` that it imports by name."""
    yield from _checks_of(_tree(path), None)
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gates."):
            helper = root.joinpath(*str(node.module).split(".")).with_suffix(".py")
            if helper.is_file():
                yield from _checks_of(_tree(helper), {alias.name for alias in node.names})


def _checks_of(tree: ast.Module, names: set[str] | None) -> Iterator[Check]:
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and (names is None or function.name in names):
            local = _assigned(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and (check := _check(node, local)) is not None:
                    yield check


def _assigned(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """Names that the function gives one value, so that a limit can be shown by what it is."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=False))
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _check(call: ast.Call, local: Mapping[str, ast.expr]) -> Check | None:
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in {"check", "none"} and call.args):
        return None
    if not (isinstance(function.value, ast.Name) and function.value.id == "evidence"):
        return None
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    first = call.args[0]
    name = _text(local.get(first.id, first) if isinstance(first, ast.Name) else first)
    if function.attr == "none":
        return Check(name, "==", "0", _text(given["unit"]) if "unit" in given else "picture")
    unit = _text(given["unit"]) if "unit" in given else ""
    clause = _resolved(given["clause"], local) if "clause" in given else None
    key = _text(clause) if isinstance(clause, ast.Constant | ast.JoinedStr) else ""
    limit = key if "." in key else _POLICY.sub("", _text(_resolved(given["limit"], local)))
    return Check(name, _text(given["op"]) if "op" in given else "<=", limit, unit)


class _Resolve(ast.NodeTransformer):
    def __init__(self, local: Mapping[str, ast.expr]) -> None:
        self.local = local

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self.local.get(node.id)
        if not isinstance(value, ast.Attribute | ast.Constant | ast.IfExp | ast.Name):
            return node
        others = {name: one for name, one in self.local.items() if name != node.id}  # so that this ends
        return _resolved(value, others)


def _resolved(limit: ast.expr, local: Mapping[str, ast.expr]) -> ast.expr:
    found: ast.expr = _Resolve(local).visit(ast.parse(ast.unparse(limit), mode="eval").body)
    return found


def _text(node: ast.expr) -> str:
    """Source of an expression; a text without its quotes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
            for part in node.values
        )
    return ast.unparse(node)
