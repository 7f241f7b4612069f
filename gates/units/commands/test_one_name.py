"""One name for one thing: what an option means in one command it means in all, by its words and its type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from gates.support.command_calls import every_command

COMMANDS: Final = every_command()
# how the help of each begins or what it must say, wherever the option is
MEANINGS: Final = {
    "--bundle": r"^Bundle\b",
    "--contract": r"^(Policy c|C)ontract\b",
    "--data": r"[Mm]anifest.*folder|^Labelled pictures: .*folder",
    "--expected": r"^Expected verdicts\b",
    "--golden": r"^Golden set\b",
    "--jobs": r"[Pp]rocesses\b",
    "--json": r"JSON",
    "--key": r"^Private key\b",
    "--onnx": r"^The same model in float32",
    "--out": r"[Ff]older|[Ff]ile|table|lines|to write|^CSV|^JSON",
    "--public-key": r"private half",
    "--review-key": r"^Key\b",
    "--split": r"lineage tags|Lineage tags|[Ss]plit\b",
    "--store": r"^Folder of the review store",
    "--tflite": r"^Your model, as it will ship",
}
PATHS: Final = {*MEANINGS} - {"--jobs", "--json"}
# another thing under the same name, and why it stays
OTHERWISE: Final = {
    ("parity", "--data"): "pictures without labels too, and one picture: it compares files and judges no truth",
}
# the name means what the command is about; what is common is said by its type
OWN: Final = {
    "--as-of": "the day, or the minute, that counts as today",
    "--cache": "what is kept to save time",
    "--candidate": "what may follow the reference, or the bundle in service",
    "--kind": "of an output, of a platform",
    "--name": "of the bundle",
    "--reference": "what is compared with",
    "--release": "of a bundle its version, of a check how strict it is",
    "--scale": "a factor",
}
# for the same thing another word would be a second name
NOT_USED: Final = {"--manifest", "--from", "--policy", "--model-bundle", "--dataset", "--output-dir", "--workers"}


def options() -> Iterator[tuple[str, str, Any]]:
    for name, command in COMMANDS.items():
        for one in command.params:
            if one.param_type_name == "option" and not one.hidden:
                yield from ((name, option, one) for option in one.opts)


def type_of(one: Any) -> str:
    """A list of values is no other type than one of them."""
    return re.sub(r"^list\[(.*)\]$", r"\1", str(one.type_descriptor.annotation)).removeprefix("<class '").rstrip("'>")


@pytest.mark.parametrize("option", sorted(MEANINGS))
def test_an_option_means_the_same_in_every_command(option: str) -> None:
    found = [(name, one) for name, other, one in options() if other == option and (name, option) not in OTHERWISE]
    assert found
    wrong = [(name, one.help) for name, one in found if not re.search(MEANINGS[option], one.help)]
    assert wrong == [], f"{option} must say {MEANINGS[option]}"
    if option in PATHS:
        assert {type_of(one) for _, one in found} == {"pathlib.Path"}


def test_an_option_has_one_type_in_all_commands() -> None:
    types: dict[str, set[str]] = {}
    for name, option, one in options():
        if (name, option) not in OTHERWISE:
            types.setdefault(option, set()).add(type_of(one))
    several = {option for option, found in types.items() if len(found) > 1}
    # a number of processes, or the word auto, which pytest understands
    assert several - {"--jobs"} <= set(OWN), several


def test_no_second_name() -> None:
    assert [(name, option) for name, option, _ in options() if option in NOT_USED] == []
