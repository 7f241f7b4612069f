"""Reading the subset of YAML that a contract may use, with the line of every key.

A contract is data: no anchors, no aliases, no tags, no second document, no key twice. Plain words that YAML 1.1
and YAML 1.2 read differently (``no``, ``on``, ``1:30``, ``017``, ``2026-01-01``) are refused instead of guessed:
the file must mean the same to every reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from ecdd.contract.contract_error import Problem

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"

MAX_DEPTH = 8
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Scalar:
    """A single value and its line."""

    line: int
    value: str | int | float | bool | None


@dataclass(frozen=True)
class Sequence:
    """A list and its line."""

    line: int
    items: list[Node]


@dataclass(frozen=True)
class Mapping:
    """A table and its line; each entry keeps the line of its key."""

    line: int
    entries: dict[str, tuple[int, Node]]


Node: TypeAlias = "Scalar | Sequence | Mapping"


def plain(node: Node) -> Value:
    """Strip the lines from a node.

    Parameters
    ----------
    node : Scalar, Sequence or Mapping
        What was read.

    Returns
    -------
    str, int, float, bool, None, list or dict
        The plain value.
    """
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(child) for key, (_, child) in node.entries.items()}


def _resolved_1_1(text: str) -> str:
    """Say which type YAML 1.1, which most Python programs read, gives a plain word."""
    for start in (text[:1], None):
        for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(start, ()):
            if pattern.match(text):
                return str(tag).removeprefix(_PREFIX)
    return "str"


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


@dataclass
class _Reader:
    events: Iterator[yaml.Event]
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, event: yaml.Event, key: str, text: str) -> None:
        self.problems.append(Problem(_line(event), key, text))

    def node(self, event: yaml.Event, key: str, depth: int) -> Node | None:
        """Build the node that starts at `event`; None where it was refused."""
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, key, f"alias *{event.anchor}; write the value itself")
            return None
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise TypeError(f"unexpected YAML event {event}")
        if event.anchor is not None:
            self.refuse(event, key, f"anchor &{event.anchor} is not allowed; remove it")
        if event.tag is not None:
            self.refuse(event, key, f"tag {event.tag!r} is not allowed; remove it")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, key, line)
        if depth > MAX_DEPTH:
            # the rest of the file would be read one level off: stop here
            raise _TooDeepError(Problem(line, key, f"nested deeper than {MAX_DEPTH} levels"))
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(line, self.items(key, depth))
        return Mapping(line, self.entries(key, depth))

    def items(self, key: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            node = self.node(event, key, depth + 1)
            if node is not None:
                items.append(node)
        return items

    def entries(self, key: str, depth: int) -> dict[str, tuple[int, Node]]:
        entries: dict[str, tuple[int, Node]] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name_node = self.node(event, key, depth + 1)
            name = name_node.value if isinstance(name_node, Scalar) else None
            child = self.node(next(self.events), f"{key}.{name}" if key else str(name), depth + 1)
            if not isinstance(name, str):
                if name_node is not None:
                    self.refuse(event, key, f"a key must be a word, not {json.dumps(plain(name_node))}")
            elif name in entries:
                path = f"{key}.{name}" if key else name
                self.refuse(event, path, f"duplicate key; first given on line {entries[name][0]}; remove one of them")
            elif child is not None:
                entries[name] = (_line(event), child)
        return entries

    def scalar(self, event: yaml.ScalarEvent, key: str, line: int) -> Scalar | None:
        text = event.value
        if event.style:  # quoted: always text
            return Scalar(line, text)
        value, kind = self.plain_word(event)
        seen_1_1 = _resolved_1_1(text)
        # a float without a dot (1e-05) is text to YAML 1.1; the schema's type decides, nothing is lost; 0229 is not one
        exponent_alone = kind == "float" and seen_1_1 == "str" and "e" in text.lower()
        if kind != seen_1_1 and not exponent_alone:
            self.refuse(
                event,
                key,
                f"{text} is read as {kind} by YAML 1.2 and as {seen_1_1} by YAML 1.1; "
                f'quote it ("{text}") or write true, false or a plain decimal number',
            )
            return None
        return Scalar(line, value)

    def plain_word(self, event: yaml.ScalarEvent) -> tuple[str | int | float | bool | None, str]:
        text = event.value
        if text in _WORDS:
            word = _WORDS[text]
            return word, "null" if word is None else "bool"
        if len(text) > 64:  # longer than any number of a contract; int() is quadratic and has a limit
            return text, "str"
        if _INT.fullmatch(text):
            return int(text), "int"
        if _NOT_FINITE.fullmatch(text):
            return float(text.replace(".", "", 1)), "float"
        if _FLOAT.fullmatch(text):
            return float(text), "float"
        return text, "str"


class _TooDeepError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def read_yaml(text: str) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document.

    Parameters
    ----------
    text : str
        The file's content.

    Returns
    -------
    root : Mapping, Sequence, Scalar or None
        What was read; None where the text is no YAML at all or is empty.
    problems : list of Problem
        Everything that a contract may not use; refused entries are left out of `root`.
    """
    reader = _Reader(iter(yaml.parse(text, Loader=_PARSER)))
    try:
        next(reader.events)  # start of the stream
        if isinstance(next(reader.events), yaml.StreamEndEvent):
            return None, [Problem(0, "", "the file is empty")]
        root = reader.node(next(reader.events), "", 0)
        next(reader.events)  # end of the document
        end = next(reader.events)
        if not isinstance(end, yaml.StreamEndEvent):
            reader.refuse(end, "", "a second document; one file holds one contract")
    except _TooDeepError as error:
        return None, [*reader.problems, error.problem]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        why = ", ".join(part for part in (error.context, error.problem) if part)
        return None, [*reader.problems, Problem(line, "", f"not YAML: {why}")]
    except yaml.YAMLError as error:
        return None, [*reader.problems, Problem(0, "", f"not YAML: {' '.join(str(error).split())}")]
    return root, reader.problems
