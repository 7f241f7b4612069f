"""Clauses read the contract: no clause file holds a number that a knob of a contract that ships holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecdd.bundle import default_bundle_path
from ecdd.contract.loading import LoadedContract, load_contract
from ecdd.contract.yaml_reading import Value
from ecdd.inference.patch_grid import unseen_from
from gates.support.spec_binding import experiment_files

# what belongs to one network, its pixels and its thresholds, and so differs in a team's own bundle
SECTIONS = {"pixel_pipeline", "face_detector", "quality_gates", "patch_grid", "operating_point", "runtime"}
SHIPPED = sorted(default_bundle_path().parent.glob("*/policy_contract.yaml"))
ALLOWED = {
    ("test_e2_6_face_size.py", 192.0): "one of the sides of a sweep",
    ("test_e2_8_compression.py", 25.0): "one of the qualities of a sweep",
    ("test_e3_6_locality.py", 256.0): "places are told in 256ths of a side",
    ("test_e3_7_influence.py", 25.0): "cells of which a gradient is taken",
}


def _numbers(value: Value) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers(one)


def _telling(number: float) -> bool:
    """Not a number that code holds by itself: counts, tens, thirty-twos, a byte's end, round shares."""
    if number.is_integer():
        return number > 16 and bool(number % 10) and number not in {32, 64, 96, 255}
    return number > 0.001 and f"{number:.9g}" not in {f"{number:.2f}", f"{number:.1f}"}


def telling_numbers(contract: LoadedContract) -> dict[float, str]:
    """Numbers that point at this contract, each with its knob or what follows from it."""
    grid = contract.policy.patch_grid
    found = {float(grid.rows * grid.cols): "cells of patch_grid", float(unseen_from(grid)[0]): "rows that are seen"}
    for key, value in contract.values.items():
        if key.partition(".")[0] in SECTIONS:
            found |= dict.fromkeys(_numbers(value), key)
    return {number: key for number, key in found.items() if _telling(number)}


def literals(source: str) -> Iterator[tuple[int, float]]:
    """Line and value of every number that is written out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            yield node.lineno, float(node.value)


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.parent.name)
def test_no_clause_holds_a_number_of_a_knob(shipped: Path) -> None:
    known = telling_numbers(load_contract(shipped))
    assert {256.0} <= known.keys(), "the side of the input is looked for in any case"
    found = [
        f"{path.name}:{line}: {number:g} is {known[number]}; read it from the contract"
        for path in experiment_files()
        if path.parent.name != "rules"  # they say nothing of the bundle that is judged
        for line, number in literals(path.read_text(encoding="utf-8"))
        if number in known and (path.name, number) not in ALLOWED
    ]
    assert found == []


def test_a_number_of_the_network_is_seen() -> None:
    known = telling_numbers(load_contract(SHIPPED[0]).with_values({"patch_grid.rows": 29, "patch_grid.cols": 29}))
    lines = ["maps = zeros((3, 29, 29))", "seen = batch[:, :256:8]", "spread = maps / 0.485", "n = 2 * 29 + 100"]
    assert sorted(line for line, number in literals("\n".join(lines)) if number in known) == [1, 1, 2, 3, 4]
