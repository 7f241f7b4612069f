"""One planted defect: what it does to the process, and where it must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """One defect.

    Attributes
    ----------
    gate, experiment : str
        Which must go red.
    tests : str
        Node id that measures it.
    metric : str
        Which metric must fail: the stated reason. ``tests.missing`` and ``tests.skipped`` are counts of the record.
    plant : callable
        Puts the defect into the running process; may return a pytest plugin that does.
    bundle : str, optional
        Bundle that ships and can have the defect, in place of the one that is judged: for its network, for the weights
        in it, or because the test is red on the other.
    pictures : int, optional
        How many golden pictures of each set the run sees, evenly drawn from the manifest; all of them where not given.
        What is red on some of the pictures is red on all of them, so that this asks more of the clause, in less time.
    """

    gate: str
    experiment: str
    tests: str
    metric: str
    plant: Callable[[], Any]
    bundle: str | None = None
    pictures: int | None = None


def planted(
    where: tuple[str, str, str], plant: Callable[[], Any], bundle: str | None = None, *, pictures: int | None = None
) -> Mutant:
    """Make a row of the catalogue of where it must be seen: experiment, tests in the gate's folder, metric."""
    experiment, tests, metric = where
    gate = f"G{experiment[1]}" if experiment[1] <= "6" else f"phase{experiment[1]}"
    return Mutant(gate, experiment, f"gates/{gate.lower()}/{tests}", metric, plant, bundle, pictures)
