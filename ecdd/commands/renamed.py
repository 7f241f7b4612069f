"""Options that were renamed: the old name works for one version, with a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ecdd.commands.terminal import echo

# by command: old name and new name; all of them go with version 0.3
_REVIEW_KEY: Final = {"--key": "--review-key"}
RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "bundle build": {"--from": "--bundle"},
    "bundle verify": {"--key": "--public-key"},
    "govern check": _REVIEW_KEY,
    "govern review add": _REVIEW_KEY,
    "govern review next": _REVIEW_KEY,
    "govern review label": _REVIEW_KEY,
    "govern review export": _REVIEW_KEY,
    "govern review status": _REVIEW_KEY,
    "govern review rekey": _REVIEW_KEY,
    "serve": {"--workers": "--jobs"},
}


def accept_old_names(command: Any, name: str) -> None:  # noqa: ANN401 - a command object of the library below Typer
    """Make a command, and those in it, understand its old option names."""
    for part, inner in getattr(command, "commands", {}).items():
        accept_old_names(inner, f"{name} {part}")
    if name in RENAMED:
        parse, old = command.parse_args, RENAMED[name]
        command.parse_args = lambda ctx, args: parse(ctx, _renamed(args, old, name))


def _renamed(args: list[str], old: Mapping[str, str], name: str) -> list[str]:
    end = args.index("--") if "--" in args else len(args)
    made = []
    for word in args[:end]:
        option, equals, value = word.partition("=")
        if option in old:
            echo(f"warning: {option} of ecdd {name} is now {old[option]}; the old name goes with version 0.3", err=True)
            option = old[option]
        made.append(f"{option}{equals}{value}")
    return made + args[end:]
