"""The reference, written from the code each time the documentation is built: nobody keeps it up by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ecdd
from ecdd.bundle import load_bundle
from ecdd.cli import COMMANDS, load_command
from ecdd.contract.describing import allowed, knob_fields
from ecdd.evidence.declare import texts
from ecdd.files import write_text
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.serving.openapi import document

ROOT = Path(__file__).resolve().parents[1]
_CLAUSE_LINK = re.compile(r"\[(test_e\w+\.py)\]\(([\w/]+\.py)\)")
_OPTION_OF_HELP = "--help"


def write_reference(folder: Path) -> None:
    """Write all pages of the reference.

    Parameters
    ----------
    folder : Path
        ``docs/reference``; nothing in it is committed.
    """
    pages = {
        "index": index_page(),
        "python": python_page(),
        "command_line": command_line_page(),
        "http": http_page(),
        "contract": contract_page(),
        "reason_codes": reason_codes_page(),
        "experiments": experiments_page(),
    }
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text("utf-8") != text:  # an unchanged page is not read again
            write_text(path, text)


def index_page() -> str:
    """List the pages."""
    names = ("python", "command_line", "http", "contract", "reason_codes", "experiments")
    return (
        "# Reference\n\nWritten from the code when the documentation is built.\n\n```{toctree}\n:maxdepth: 1\n\n"
        + "\n".join(names)
        + "\n```\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; cells are escaped."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|")
    return text.replace("<", "&lt;") if "`" not in text else text


def contract_page() -> str:
    """Every knob with the default bundle's value."""
    bundle = load_bundle()
    values, sections = bundle.contract.values, dict[str, list[list[object]]]()
    for key, knob in knob_fields().items():
        value = f"`{_short(values[key])}`" if key in values else "not set"
        row = [f"`{knob.name}`", value, knob.unit, allowed(key), knob.set_by, knob.meaning]
        sections.setdefault(knob.section or "top level", []).append(row)
    text = (
        "# Contract knobs\n\n"
        f"Values are those of the default bundle, {bundle.manifest.name} {bundle.manifest.version}. "
        "`ecdd contract show` prints the same, `ecdd contract schema` the JSON Schema.\n\n"
    )
    head = ("Knob", "Value", "Unit", "Allowed", "Set by", "Meaning")
    return text + "\n".join(f"## {name}\n\n{table(head, rows)}" for name, rows in sections.items())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 70 else f"{text[:67]}..."


def reason_codes_page() -> str:
    """Every code with what happened and what to do."""
    rows = [[f"`{code.value}`", code.meaning, code.sentence, code.advice] for code in ReasonCode]
    return (
        "# Reason codes\n\n`GR`: guardrails, `MD`: the model, `IO`: the file, `PX`: pixels, `SY`: the system.\n\n"
        + table(("Code", "Meaning", "What a person reads", "What to do"), rows)
    )


def experiments_page() -> str:
    """The clauses with knobs, metrics, limits and planted defects."""
    page = texts(ROOT)[ROOT / "gates" / "README.md"]
    return _CLAUSE_LINK.sub(r"`gates/\2`", page).replace("# The specification", "# Experiments", 1)


def command_line_page() -> str:
    """Every command with arguments and options."""
    parts = ["# Command line\n\nExit codes: 0 done, 1 a finding (a red, a refusal), 2 a wrong call.\n"]
    for name in COMMANDS:
        for path, command in _commands(f"ecdd {name}", load_command(name)):
            level = "##" if path.count(" ") == 1 else "###"
            parts.append(f"{level} {path}\n\n{_prose(command.help)}\n\n{_parameters(command)}")
    return "\n".join(parts)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _commands(f"{path} {name}", inner)


def _prose(text: str | None) -> str:
    return inspect.cleandoc((text or "").replace("\f", "")).replace("<", "&lt;").replace("*", "\\*")


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or _OPTION_OF_HELP in parameter.opts:
            continue
        words = [*parameter.opts, *parameter.secondary_opts]
        is_option = parameter.param_type_name == "option"
        name = ", ".join(f"`{word}`" for word in words) if is_option else f"`{parameter.name.upper()}`"
        said = " ".join(filter(None, [getattr(parameter, "help", ""), "Required." if parameter.required else ""]))
        rows.append([name, said.replace("*", "\\*")])
    return table(("Argument or option", "Meaning"), rows) if rows else ""


def http_page() -> str:
    """Every route of the local site."""
    spec = document(review=True)
    parts = ["# HTTP\n\n`ecdd serve` answers these; `/openapi.json` is the whole document (OpenAPI 3.1).\n"]
    for path, methods in spec["paths"].items():
        for method, about in methods.items():
            parts.append(f"## {method.upper()} {path}\n\n{about.get('description') or about['summary']}\n")
            given = [[f"`{one['name']}`", one["in"], one.get("description", "")] for one in about.get("parameters", ())]
            if given:
                parts.append(table(("Parameter", "In", "Meaning"), given))
            answers = [[status, answer["description"]] for status, answer in about["responses"].items()]
            parts.append(table(("Status", "Meaning"), answers))
    parts.append("## Fields of a verdict\n")
    fields = spec["components"]["schemas"]["Prediction"]["properties"]
    parts.append(table(("Field", "Type"), [[f"`{name}`", _type(field)] for name, field in fields.items()]))
    return "\n".join(parts)


def _type(field: Any) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[1])
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if field.get("type") == "array" and "items" in field:
        return f"list of {_type(field['items'])}"
    return str(field.get("type", "object"))


def python_page() -> str:
    """The public names, with their docstrings."""
    parts = ["# Python\n\n```{eval-rst}\n.. currentmodule:: ecdd\n\n.. automodule:: ecdd\n   :no-members:\n```\n"]
    for name in ecdd.__all__:
        found = getattr(ecdd, name)
        if not inspect.isclass(found):
            kind = "autofunction" if callable(found) else None
            parts.append(f"## {name}\n\n" + (_directive(kind, name) if kind else "The version, as a string.\n"))
        else:
            parts.append(f"## {name}\n\n{_directive('autoclass', name, _own_members(found))}")
    return "\n".join(parts)


def _own_members(kind: type) -> list[str]:
    """Public methods and properties with a docstring that a class has itself; fields stand under Attributes."""
    found = []
    for name, value in vars(kind).items():
        member = inspect.unwrap(value.__func__) if isinstance(value, classmethod | staticmethod) else value
        is_public = not name.startswith(("_", "model_")) and bool(member.__doc__)
        if is_public and (callable(member) or isinstance(value, property)):
            found.append(name)
    return [] if issubclass(kind, str) else found


def _directive(kind: str, name: str, members: Sequence[str] = ()) -> str:
    lines = [f".. {kind}:: ecdd.{name}"]
    if members:
        lines.append(f"   :members: {', '.join(members)}")
    return "```{eval-rst}\n" + "\n".join(lines) + "\n```\n"
