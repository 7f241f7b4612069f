"""What the schema says of every knob: unit, allowed range, meaning, and the experiment that sets it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ecdd.contract.knob import Knob, Section
from ecdd.contract.schema import PolicyContract


@dataclass(frozen=True)
class KnobField:
    """One knob of the schema.

    Attributes
    ----------
    key : str
        Dotted path, ``"section.name"``, or the bare name of a knob at the top level.
    section : str
        Name of the section; empty at the top level.
    name : str
        Name within the section.
    unit, set_by : str
        See `ecdd.contract.knob.Knob`.
    meaning : str
        One line for a person.
    annotation : type
        The value's type.
    """

    key: str
    section: str
    name: str
    unit: str
    set_by: str
    meaning: str
    annotation: Any

    def is_literal_mismatch(self, value: object) -> bool:
        """Tell whether a value only *equals* an allowed literal: ``1`` for ``true``, ``1.0`` for ``1``."""
        if get_origin(self.annotation) is not Literal:
            return False
        equal = [option for option in get_args(self.annotation) if value == option]
        return bool(equal) and all(type(value) is not type(option) for option in equal)


def section_type(field: FieldInfo) -> type[Section] | None:
    """Return the section's model, or None for a knob at the top level."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _knob(key: str, section: str, name: str, field: FieldInfo) -> KnobField:
    knob = next(item for item in field.metadata if isinstance(item, Knob))
    return KnobField(key, section, name, knob.unit, knob.set_by, field.description or "", field.annotation)


def _walk() -> Iterator[KnobField]:
    for top, field in PolicyContract.model_fields.items():
        section = section_type(field)
        if section is None:
            yield _knob(top, "", top, field)
        else:
            for name, inner in section.model_fields.items():
                yield _knob(f"{top}.{name}", top, name, inner)


@lru_cache(maxsize=1)
def knob_fields() -> dict[str, KnobField]:
    """List every knob of the schema.

    Returns
    -------
    dict of str to KnobField
        By dotted key, in the order of the schema.
    """
    return {knob.key: knob for knob in _walk()}


@lru_cache(maxsize=1)
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a contract file, with unit and deciding experiment of each knob.

    Returns
    -------
    dict
        JSON Schema (draft 2020-12): every leaf is an object of ``value``, ``status`` and ``set_by``.
    """
    schema: dict[str, Any] = PolicyContract.model_json_schema()
    definitions: dict[str, Any] = schema.get("$defs", {})
    for top, prop in schema["properties"].items():
        if "$ref" in prop:
            section = definitions[prop["$ref"].rsplit("/", 1)[1]]
            for name, inner in section["properties"].items():
                section["properties"][name] = _leaf_schema(f"{top}.{name}", inner)
        else:
            schema["properties"][top] = _leaf_schema(top, prop)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def _leaf_schema(key: str, value: dict[str, Any]) -> dict[str, Any]:
    knob = knob_fields()[key]
    inner = {name: item for name, item in value.items() if name not in {"title", "description"}}
    return {
        "description": knob.meaning,
        "type": "object",
        "additionalProperties": False,
        "required": ["value", "status", "set_by"],
        "properties": {
            "value": inner,
            "status": {"enum": ["proposed", "frozen"]},
            "set_by": {"const": knob.set_by},
        },
        "x-unit": knob.unit,
        "x-set-by": knob.set_by,
    }


def value_schema(key: str) -> dict[str, Any]:
    """Return the JSON Schema of one knob's value."""
    knob = knob_fields()[key]
    schema = json_schema()
    if knob.section:
        reference: str = schema["properties"][knob.section]["$ref"]
        schema = schema["$defs"][reference.rsplit("/", 1)[1]]
    value: dict[str, Any] = schema["properties"][knob.name]["properties"]["value"]
    return value


def allowed(key: str) -> str:
    """Say in words which values a knob may have.

    Parameters
    ----------
    key : str
        Dotted key of a knob of the schema.

    Returns
    -------
    str
        For example ``"integer, 64 to 1024"``.
    """
    return _in_words(value_schema(key))


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(one) for one in schema["anyOf"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(option) for option in schema["enum"])
    kind = schema.get("type")
    if kind in {"integer", "number"}:
        return f"{kind}{_range(schema)}"
    if kind == "array":
        least, most = schema.get("minItems"), schema.get("maxItems")
        count = f"{least}" if least == most and least is not None else f"at least {least or 0}"
        return f"list of {count}, each ({_in_words(schema['items'])})"
    if kind == "object":
        names = schema.get("propertyNames", {}).get("enum")
        of = f"{', '.join(names)}" if names else "names"
        return f"table from {of} to {_in_words(schema.get('additionalProperties') or {})}"
    if kind == "string":
        pattern = f" matching {schema['pattern']}" if "pattern" in schema else ""
        return f"text{pattern or (', not empty' if schema.get('minLength') else '')}"
    return str(kind)


def _range(schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum")
    above = schema.get("exclusiveMinimum")
    high = schema.get("maximum")
    below = schema.get("exclusiveMaximum")
    lower = f"{low:g}" if isinstance(low, float) else f"{low}" if low is not None else ""
    upper = f"{high:g}" if isinstance(high, float) else f"{high}" if high is not None else ""
    if lower and upper:
        return f", {lower} to {upper}"
    parts = [f"at least {lower}"] if lower else []
    parts += [f"above {above:g}"] if above is not None else []
    parts += [f"up to {upper}"] if upper else []
    parts += [f"below {below:g}"] if below is not None else []
    return f", {' and '.join(parts)}" if parts else ""
