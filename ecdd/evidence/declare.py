"""Write ``gates/declared.yaml`` and ``gates/README.md`` from the clause files: ``python -m ecdd.evidence.declare``.

Both are committed. A run whose tests differ from the declaration is not the experiment, so a deleted test is noticed;
the page is for whoever wants to read what the gates demand.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ecdd.contract.describing import knob_fields
from ecdd.contract.loading import load_contract
from ecdd.evidence.clause_files import Check, Clause, read_clauses
from ecdd.evidence.declarations import DeclarationError
from ecdd.files import write_text

_HEADER: Final = (
    "# The experiments of the specification and their tests, written from the clause files by\n"
    "# python -m ecdd.evidence.declare. A run that collects more or fewer tests of one is not the experiment.\n"
)
_PAGE: Final = """# The specification

Written from the clause files by `python -m ecdd.evidence.declare`; do not edit.

A detector may be released when every clause that its contract claims holds. A clause is one file,
`gates/<gate>/test_e<n>_<m>_<name>.py`: its first sentence is the requirement, its tests measure it. Below each clause
stand the knobs of `contracts/policy_contract.yaml` that it sets, what its tests measure with the limit that each metric
is held to (a key of the contract, a number, or the expression in the code), and the planted defects that must turn it
red. `pytest gates/g1` runs a gate, `ecdd report` shows what was measured.

"""


def declared_text(clauses: Mapping[str, Clause]) -> str:
    """Text of ``gates/declared.yaml``."""
    content = {key: clause.declared.model_dump(exclude_defaults=True) for key, clause in clauses.items()}
    return _HEADER + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


def page_text(clauses: Mapping[str, Clause], contract: Path, mutants: Mapping[str, Any]) -> str:
    """Text of ``gates/README.md``.

    Parameters
    ----------
    clauses : mapping of str to Clause
        By id.
    contract : Path
        Whose values are shown.
    mutants : mapping of str to object
        Planted defects by name, each with ``experiment`` and ``metric``.

    Returns
    -------
    str
        Markdown, grouped by gate.
    """
    values = load_contract(contract).values
    parts = [_PAGE]
    gate = ""
    for key, clause in clauses.items():
        if clause.declared.gate != gate:
            gate = clause.declared.gate
            parts.append(f"## {_heading(contract.parents[1] / clause.declared.file)}\n\n")
        killed = [f"`{name}` ({mutant.metric})" for name, mutant in mutants.items() if mutant.experiment == key]
        knobs = [f"`{knob.key}` = {_value(values[knob.key], knob.unit)}"
                 for knob in knob_fields().values() if knob.set_by == key]  # fmt: skip
        about = clause.declared
        name = Path(about.file)
        sentence = about.clause[0].upper() + about.clause[1:]
        parts.append(
            f"### {key} {about.title}\n\n**{sentence}** {clause.why}\n\n"
            f"[{name.name}]({name.parent.name}/{name.name})\n\n"
            + _list("Knobs", knobs)
            + _list("Metrics", [_metric(check, values) for check in clause.checks])
            + _list("Planted defects", killed)
            + "\n"
        )
    return "".join(parts).rstrip("\n") + "\n"


def _heading(file: Path) -> str:
    """First line of the docstring of a gate's package."""
    text = ast.get_docstring(ast.parse((file.parent / "__init__.py").read_text(encoding="utf-8"))) or file.parent.name
    return text.partition("\n")[0].rstrip(".")


def _list(title: str, items: Iterable[str]) -> str:
    text = "; ".join(items)
    return f"- {title}: {text}\n" if text else ""


def _value(value: object, unit: str) -> str:
    if isinstance(value, Mapping):
        value = value.values()
    shown = str(value) if isinstance(value, str) or not isinstance(value, Iterable) else ", ".join(map(str, value))
    return shown if unit == "none" else f"{shown} {unit}"


def _metric(check: Check, values: Mapping[str, object]) -> str:
    limit = f"`{check.limit}` ({values[check.limit]})" if check.limit in values else check.limit
    sign = {"<=": "≤", ">=": "≥", "==": "="}.get(check.op, check.op)
    return f"{check.name} {sign} {limit}{f' {check.unit}' if check.unit else ''}"


def texts(root: Path) -> dict[Path, str]:
    """Both files with the text that the clause files ask for; raises `DeclarationError` where one is malformed."""
    clauses = read_clauses(root)
    mutants = importlib.import_module("gates.mutants.catalogue").MUTANTS
    page = page_text(clauses, root / "contracts" / "policy_contract.yaml", mutants)
    return {root / "gates" / "declared.yaml": declared_text(clauses), root / "gates" / "README.md": page}


def main() -> int:
    """Write both files of the project in the current folder."""
    try:
        for path, text in texts(Path.cwd()).items():
            write_text(path, text)
    except DeclarationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
