"""Changing values in the text of a contract, which keeps its comments and its order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ecdd.contract.contract_error import ContractError, Problem

_HEADING = re.compile(r"^(\w+):\s*(#.*)?$")
_ENTRY = re.compile(r"^(  (\w+): \{value: )(.*?)(, status: )(\w+)(, set_by: [^}]*\}.*)$")


def set_contract_values(text: str, values: Mapping[str, float | str], status: str | None) -> str:
    """Replace values and statuses in the text of a contract, keeping comments, order and everything else.

    Parameters
    ----------
    text : str
        YAML with one ``key: {value: …, status: …, set_by: …}`` a line under its section.
    values : mapping of str to value
        New values by ``section.key``.
    status : str or None
        ``proposed`` or ``frozen``; None keeps what stands there.

    Returns
    -------
    str
        The new text.

    Raises
    ------
    ContractError
        If a key has no such line.
    """
    section, found = "", set()
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if heading := _HEADING.match(line.rstrip()):
            section = heading[1]
        entry = _ENTRY.match(line.rstrip("\n"))
        key = f"{section}.{entry[2]}" if entry else ""
        if entry and key in values:
            value = values[key]
            shown = repr(value) if isinstance(value, float) else json.dumps(value)
            lines[index] = f"{entry[1]}{shown}{entry[4]}{status or entry[5]}{entry[6]}\n"
            found.add(key)
    if missing := sorted(set(values) - found):
        wanted = "the contract has no line for it of the form `key: {value: …, status: …, set_by: …}`"
        raise ContractError("policy contract", [Problem(0, key, wanted) for key in missing])
    return "".join(lines)
