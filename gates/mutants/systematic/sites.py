"""Where a module can be mutated, by cosmic-ray's operators: each mutant is named by file, operator and occurrence."""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import parso  # noqa: F401  cosmic-ray 8.7 loads its operators only where parso is complete
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT: Final = Path(__file__).resolve().parents[3]

# what a verdict, a threshold, a metric, a record or a release passes through
DECIDING: Final = (
    "pipeline", "inference", "runtimes", "calibration", "evaluation", "parity", "evidence", "release", "bundle",
    "dataset_governance", "monitoring",
)  # fmt: skip

# code that draws or prints: a moved label is not a moved decision
_DRAWN: Final = ("figures.py", "page.py", "view.py", "_figures.py", "_page.py", "_view.py")

_ARITHMETIC: Final = {
    "Add": ("Sub", "Mul"), "Sub": ("Add",), "Mul": ("Div", "Add"), "Div": ("Mul",), "FloorDiv": ("Div", "Mul"),
    "Mod": ("FloorDiv",), "Pow": ("Mul",), "LShift": ("RShift",), "RShift": ("LShift",), "BitAnd": ("BitOr",),
    "BitOr": ("BitAnd",), "BitXor": ("BitAnd",),
}  # fmt: skip
_COMPARISONS: Final = {
    "Eq": ("NotEq",), "NotEq": ("Eq",), "Lt": ("LtE", "GtE"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"), "Is": ("IsNot",), "IsNot": ("Is",),
}  # fmt: skip
_BOUNDARIES: Final = frozenset(
    f"ReplaceComparisonOperator_{a}_{b}" for a, b in (("Lt", "LtE"), ("LtE", "Lt"), ("Gt", "GtE"), ("GtE", "Gt"))
)
_OTHERS: Final = (
    "AddNot", "ExceptionReplacer", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceFalseWithTrue",
    "ReplaceTrueWithFalse", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub", "ZeroIterationForLoop",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Site:
    """One possible mutant.

    Attributes
    ----------
    path : str
        Module, relative to the project, with forward slashes.
    line : int
        First line of what is changed, from 1.
    operator : str
        Name in cosmic-ray, without its ``core/``.
    occurrence : int
        Which of the operator's places in the module, from 0.
    """

    path: str
    line: int
    operator: str
    occurrence: int

    @property
    def name(self) -> str:
        """``path:operator:occurrence``: makes this mutant again on the same source."""
        return f"{self.path}:{self.operator}:{self.occurrence}"

    @property
    def package(self) -> str:
        """Part of the package that the module belongs to, for instance ``pipeline``."""
        return self.path.split("/")[1]


def operators() -> tuple[str, ...]:
    """Names of the operators in use, sorted: each changes a decision, a bound, a number or a path."""
    swaps = [f"ReplaceBinaryOperator_{a}_{b}" for a, others in _ARITHMETIC.items() for b in others]
    swaps += [f"ReplaceComparisonOperator_{a}_{b}" for a, others in _COMPARISONS.items() for b in others]
    wanted = sorted((*swaps, *_OTHERS))
    known = {name.partition("/")[2] for name in operator_names()}
    if lacking := sorted(set(wanted) - known):
        msg = f"cosmic-ray has no operator {', '.join(lacking)}"
        raise LookupError(msg)
    return tuple(wanted)


def modules(packages: Iterable[str] = DECIDING) -> list[Path]:
    """Every module of the named parts of the package that decides something, sorted."""
    found = (path for name in packages for path in (ROOT / "ecdd" / name).rglob("*.py"))
    return sorted(path for path in found if not path.name.endswith(_DRAWN))


def sites(path: Path) -> list[Site]:
    """All mutants of one module.

    What only type checkers and people read is left out.
    """
    source = path.read_text(encoding="utf-8")
    silent = frozenset(_unread(ast.parse(source)))
    tree, relative = get_ast(source), path.relative_to(ROOT).as_posix()
    nodes = list(ast_nodes(tree))
    found = []
    for name in operators():
        operator = _operator(name)
        places = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, ((line, column), _) in enumerate(places):
            if not any(_inside((line, column), span) for span in silent) and _possible(source, name, occurrence):
                found.append(Site(relative, line, name, occurrence))
    return sorted(found)


def _possible(source: str, name: str, occurrence: int) -> bool:
    """False for ``except module.Error``: cosmic-ray 8.7 renames plain names alone."""
    try:
        return name != "ExceptionReplacer" or bool(mutate_code(source, _operator(name), occurrence))
    except AttributeError:
        return False


def mutated(site: Site) -> str:
    """Source of the module with this one mutation.

    Raises
    ------
    LookupError
        The module has no such place any more.
    """
    source = (ROOT / site.path).read_text(encoding="utf-8")
    changed: str | None = mutate_code(source, _operator(site.operator), site.occurrence)
    if changed is None or changed == source:
        msg = f"{site.name}: no such place in the module; draw the sample anew"
        raise LookupError(msg)
    return changed


def boundaries(packages: Iterable[str] = DECIDING) -> list[Site]:
    """Every mutant that moves only equality to the other side of a comparison: ``<`` for ``<=``, ``>=`` for ``>``."""
    return sorted(site for path in modules(packages) for site in sites(path) if site.operator in _BOUNDARIES)


def sample(count: int, seed: int, packages: Iterable[str] = DECIDING) -> list[Site]:
    """Draw mutants: every package by the root of its size, so that small ones are seen and large ones weigh more.

    Parameters
    ----------
    count : int
        How many; all of them where fewer exist.
    seed : int
        Same seed and source, same sample; a longer sample begins with the shorter one.
    packages : iterable of str
        Parts of the package.

    Returns
    -------
    list of Site
        In the order in which they are to be run, so that a run that is cut short is itself a fair sample.
    """
    order: list[tuple[float, str, Site]] = []
    for package in packages:
        by_line: dict[tuple[str, int], list[tuple[str, Site]]] = {}
        for path in modules([package]):
            lines = path.read_text(encoding="utf-8").splitlines()
            for site in sites(path):
                drawn = _drawn(seed, site, lines[site.line - 1])
                by_line.setdefault((site.path, site.line), []).append((drawn, site))
        groups = sorted(sorted(group) for group in by_line.values())
        first = [group[0][1] for group in groups]  # one mutant a line before any line has two
        rest = [site for _, site in sorted(one for group in groups for one in group[1:])]
        every = [*first, *rest]
        order += [(rank / math.sqrt(len(every)), package, site) for rank, site in enumerate(every)]
    return [site for *_, site in sorted(order)[:count]]


def _drawn(seed: int, site: Site, line: str) -> str:
    """A site's lot: of its own line and operator alone, so that a change elsewhere draws no other mutants."""
    return hashlib.sha256(f"{seed} {site.path} {line.strip()} {site.operator}".encode()).hexdigest()


def _operator(name: str) -> Any:
    return get_operator(f"core/{name}")()


# what these forbid no code does: lists of two lengths, changed or compared records
_FORBIDDING: Final = {"zip": {"strict"}, "dataclass": {"frozen", "eq"}, "ConfigDict": {"frozen"}}


def _unread(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Annotations, ``if TYPE_CHECKING`` and f-strings: type checkers and people read them, no decision does."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield (node.lineno, node.col_offset), (node.lineno + 1, 0)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [word.value for word in node.keywords if word.arg in _FORBIDDING.get(node.func.id, ())]
        if isinstance(node, ast.JoinedStr):
            found.append(node)
        for one in found:
            if isinstance(one, ast.expr) and one.end_lineno is not None and one.end_col_offset is not None:
                yield (one.lineno, one.col_offset), (one.end_lineno, one.end_col_offset)


def _inside(place: tuple[int, int], span: tuple[tuple[int, int], tuple[int, int]]) -> bool:
    return span[0] <= place < span[1]
