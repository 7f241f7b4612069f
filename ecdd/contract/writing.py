"""Writing a contract as YAML that reads the same under YAML 1.1 and 1.2."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ecdd.contract.describing import section_type
from ecdd.contract.digest import Standing
from ecdd.contract.schema import PolicyContract
from ecdd.contract.yaml_reading import Value

_HEAD = """\
# The policy contract: every number and choice of policy lives here and nowhere else.
# Each knob has a value, a status (proposed or frozen) and the experiment that sets it;
# its unit, range and meaning are shown by `ecdd contract show`.
"""


def contract_text(values: Mapping[str, Value], provenance: Mapping[str, Standing]) -> str:
    """Format a contract.

    Parameters
    ----------
    values : mapping of str to value
        Typed values by dotted key; a knob without one (of an older schema) is left out.
    provenance : mapping of str to Provenance
        Status and deciding experiment by dotted key.

    Returns
    -------
    str
        YAML, ends with a newline.
    """
    lines = [_HEAD]
    for top, field in PolicyContract.model_fields.items():
        section = section_type(field)
        if section is None:
            lines.append(_leaf(top, top, values, provenance))
            continue
        summary = (section.__doc__ or "").strip().splitlines()[0]
        names = [name for name in section.model_fields if f"{top}.{name}" in values]
        lines += ["", f"# {summary}", f"{top}:"] if names else []
        lines += [f"  {_leaf(name, f'{top}.{name}', values, provenance)}" for name in names]
    return "\n".join(lines) + "\n"


def _leaf(name: str, key: str, values: Mapping[str, Value], provenance: Mapping[str, Standing]) -> str:
    standing = provenance[key]
    return f"{name}: {{value: {yaml_value(values[key])}, status: {standing.status}, set_by: {standing.set_by}}}"


def yaml_value(value: Value) -> str:
    """Format one value in YAML's flow style: JSON, but floats keep a dot (``1.0e-05``) for YAML 1.1."""
    if isinstance(value, list):
        return f"[{', '.join(yaml_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_quoted(key)}: {yaml_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):
        return _quoted(value)
    text = json.dumps(value, allow_nan=False)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def _quoted(text: str) -> str:
    r"""Quote a text: JSON's escapes, but beyond 16 bits YAML has ``\U`` where JSON has a pair."""
    inner = (json.dumps(char)[1:-1] if ord(char) < 2**16 else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(inner)}"'
