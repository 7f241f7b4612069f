"""Which test proves which clause: the binding of experiments, contract knobs and tests, read from the code itself.

A knob is bound to the experiment that sets it (`set_by`), and that experiment to its declared tests. That tests have to
do with the knob is read from their source: those of its experiment, or the helpers of their gate that they import, name
it (`NAMED`); or those of another experiment do (`ELSEWHERE`); or code of the product that they import reads it
(`THROUGH`); or the schema allows no other value (`ONLY`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from ecdd.contract.describing import KnobField, knob_fields
from ecdd.evidence.declarations import Declared

ROOT: Final = Path(__file__).resolve().parents[2]
GATES: Final = ROOT / "gates"
Bond = Literal["NAMED", "ELSEWHERE", "THROUGH", "ONLY", "UNBOUND"]
# versions of the file's own form; gates/units/contract tests refuse others
OF_THE_FILE: Final = "spec 1"
EXPERIMENT_FILE: Final = re.compile(r"test_e(\d+)_(\d+)_\w+\.py")
_KEY: Final = re.compile(r"\b[a-z_]+\.([a-z_0-9]+)\b")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(name: str) -> Path | None:
    stem = ROOT.joinpath(*name.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


@cache
def imported(path: Path) -> frozenset[Path]:
    """Modules of this project that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(path for name in names if name.startswith(("gates.", "ecdd.")) and (path := _module(name)))


def reached(start: Iterable[Path], follow: Callable[[Path], bool]) -> set[Path]:
    """Modules that are imported from the first ones, directly or not, as far as they are to be followed."""
    found: set[Path] = set()
    todo = [path for path in start if path.is_file()]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [other for other in imported(path) if follow(other)]
    return found


@cache
def mentions(path: Path) -> frozenset[str]:
    """Names that a module reads as attributes, and names in texts that are keys such as ``"pooling.rule"``."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value, *_KEY.findall(node.value)}
    return frozenset(found)


def own_files(file: Path) -> set[Path]:
    """A gate's test file, the fixtures that it gets, and the helpers under ``gates/`` that they import."""
    start = (file, file.parent / "conftest.py", GATES / "conftest.py")
    return reached(start, lambda path: GATES in path.parents)


def bond(knob: KnobField, file: Path, others: Iterable[Path] = ()) -> Bond:
    """How tests are bound to a knob.

    Parameters
    ----------
    knob : KnobField
        Of the schema.
    file : Path
        Test file of the experiment that sets it.
    others : iterable of Path
        Test files of the other experiments.

    Returns
    -------
    {"NAMED", "ELSEWHERE", "THROUGH", "ONLY", "UNBOUND"}
        The strongest.
    """
    own = own_files(file)
    if any(knob.name in mentions(path) for path in own):
        return "NAMED"
    if any(knob.name in mentions(path) for path in others):
        return "ELSEWHERE"
    product = reached(own, lambda _: True) - own
    schema = ROOT / "ecdd" / "contract"
    if any(knob.name in mentions(path) for path in product if schema not in path.parents):
        return "THROUGH"
    only = get_origin(knob.annotation) is Literal and len(get_args(knob.annotation)) == 1
    return "ONLY" if only else "UNBOUND"


def knobs_without_experiment(set_by: Mapping[str, str], declared: Mapping[str, Declared]) -> list[str]:
    """Knobs whose experiment is not declared, or has no tests."""
    return [
        f"{key} is set by {experiment}, which has no declared test"
        for key, experiment in set_by.items()
        if experiment != OF_THE_FILE and not (experiment in declared and declared[experiment].tests)
    ]


def bonds(set_by: Mapping[str, str], declared: Mapping[str, Declared]) -> dict[str, Bond]:
    """How every knob with a declared experiment is bound."""
    fields, files = knob_fields(), [ROOT / about.file for about in declared.values()]
    return {
        key: bond(fields[key], ROOT / declared[experiment].file, files)
        for key, experiment in set_by.items()
        if experiment in declared
    }


def experiment_files(folder: Path = GATES) -> dict[Path, str]:
    """Test files named for an experiment, with its id."""
    found = {path: EXPERIMENT_FILE.fullmatch(path.name) for path in sorted(folder.rglob("test_e*.py"))}
    return {path: f"E{match[1]}.{match[2]}" for path, match in found.items() if match is not None}


def misplaced_tests(file: Path, experiment: str, declared: Mapping[str, Declared], root: Path = ROOT) -> list[str]:
    """Tests of an experiment's file that are bound to no clause, or to another one, or that nobody declared."""
    where = file.relative_to(root).as_posix()
    about = declared.get(experiment)
    if about is None or where not in about.files:
        return [f"{where}: {experiment} is not declared with this file"]
    if where == about.rules_file:  # the whole file carries the marker
        return [f"{where}: {name} is not declared" for name in _tests(file) if name not in about.rules]
    found = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            markers = _markers(node)
            if markers != [experiment]:
                found.append(f"{where}: {node.name} carries {markers or 'no marker'}, not {experiment}")
            elif node.name not in about.tests:
                found.append(f"{where}: {node.name} is not declared")
    return found


def _tests(file: Path) -> list[str]:
    nodes = (node for node in ast.walk(_tree(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.name for node in nodes if node.name.startswith("test_")]


def _markers(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    calls = [decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "experiment"]
    return [str(argument.value) for call in named for argument in call.args if isinstance(argument, ast.Constant)]
