"""Checking the values of a contract against the typed schema, every problem with its line and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ecdd.contract.contract_error import Problem
from ecdd.contract.describing import allowed, knob_fields, section_type
from ecdd.contract.knob import Section
from ecdd.contract.schema import PolicyContract
from ecdd.contract.yaml_reading import Mapping as MappingNode
from ecdd.contract.yaml_reading import Node, Value
from ecdd.contract.yaml_reading import Sequence as SequenceNode

LineOf: TypeAlias = Callable[[str, tuple[int | str, ...]], int]


def typed_policy(
    values: Mapping[str, Value], line_at: LineOf, problems: list[Problem], bad: set[str]
) -> PolicyContract | None:
    """Validate all values, section by section.

    Parameters
    ----------
    values : mapping of str to value
        Plain values by dotted key; keys that the schema does not know are left out before.
    line_at : callable
        Line of an element: dotted key and place within the value; 0 where there is none.
    problems : list of Problem
        Every problem is appended.
    bad : set of str
        Keys (or whole sections) that were reported already and so are not "missing".

    Returns
    -------
    PolicyContract or None
        None where anything was wrong, here or before.
    """
    content: dict[str, object] = {}
    for top, field in PolicyContract.model_fields.items():
        section = section_type(field)
        if section is not None:
            content[top] = _section(top, section, values, line_at, problems, bad)
        elif top in values:
            content[top] = values[top]
            problems += _only_equal(top, values[top], line_at)
    try:
        policy = PolicyContract.model_validate(content)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if not key:  # a rule over several sections; its message begins with one knob's key
                text = detail["msg"].removeprefix("Value error, ")
                problems.append(Problem(line_at(text.split()[0], ()), text.split()[0], text))
            elif key in knob_fields():  # sections were judged above
                _append(key, detail, detail["loc"][1:], line_at, problems, bad)
        return None
    return None if problems else policy


def _section(
    top: str,
    section: type[Section],
    values: Mapping[str, Value],
    line_at: LineOf,
    problems: list[Problem],
    bad: set[str],
) -> Section | None:
    """Validate one section; None where it has problems."""
    given = {name: values[f"{top}.{name}"] for name in section.model_fields if f"{top}.{name}" in values}
    if not given and not line_at(top, ()):
        if top not in bad:
            names = ", ".join(section.model_fields)
            problems.append(Problem(0, top, f"missing section; it has the knobs {names}"))
        return None
    for name, value in given.items():
        problems += _only_equal(f"{top}.{name}", value, line_at)
    try:
        return section.model_validate(given)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            loc = detail["loc"]
            if not loc:  # a rule over several knobs of the section; its message begins with one of them
                text = detail["msg"].removeprefix("Value error, ")
                problems.append(Problem(line_at(f"{top}.{text.split()[0]}", ()), top, text))
            elif top not in bad:
                _append(f"{top}.{loc[0]}", detail, loc[1:], line_at, problems, bad)
        return None


def _only_equal(key: str, value: Value, line_at: LineOf) -> list[Problem]:
    """Refuse ``1`` where ``true`` is meant: pydantic takes equal values for literals, a contract does not."""
    wrong = knob_fields()[key].is_literal_mismatch(value)
    return [_wrong(key, value, "", line_at(key, ()))] if wrong else []


def _append(
    key: str,
    detail: ErrorDetails,
    loc: tuple[int | str, ...],
    line_at: LineOf,
    problems: list[Problem],
    bad: set[str],
) -> None:
    """Turn one complaint of the model into a problem with key, value, range and line."""
    if detail["type"] == "missing" and not loc:
        if key not in bad:
            problems.append(Problem(line_at(key, ()), key, f"missing; allowed: {allowed(key)}"))
    else:
        problems.append(_wrong(key, cast("Value", detail["input"]), detail["msg"], line_at(key, loc)))


def _wrong(key: str, value: Value, why: str, line: int) -> Problem:
    said = f" ({why[:1].lower()}{why[1:]})" if why else ""
    return Problem(line, key, f"{shown(value)}{said}; allowed: {allowed(key)}")


def shown(value: Value) -> str:
    """Show a value as a person would write it, cut to 80 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"


def line_of(node: Node, loc: tuple[int | str, ...]) -> int:
    """Find the line of an element within a value."""
    for step in loc:
        if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif isinstance(node, MappingNode) and str(step) in node.entries:
            node = node.entries[str(step)][1]
        else:
            break
    return node.line
