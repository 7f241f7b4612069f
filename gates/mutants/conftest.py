"""A control is the tests of a mutant without any defect: where the session runs those tests itself, once is enough."""

from __future__ import annotations

import pytest

from ecdd.evidence.pytest_plugin import RUN
from gates.mutants.killing import controls_needed

CONTROL = "test_the_same_tests_are_green_without_a_mutant"


@pytest.hookimpl(trylast=True)  # after -k and -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the controls that the session's own clauses are."""
    other = {key for key, entry in config.stash[RUN].expected.items() if entry.verdict != "pass"}
    needed = controls_needed([item.nodeid for item in items], other)
    kept, twice = [], []
    for item in items:
        is_control = isinstance(item, pytest.Function) and item.originalname == CONTROL
        (twice if is_control and item.callspec.params["file"] not in needed else kept).append(item)  # type: ignore[attr-defined]
    if twice:
        items[:] = kept
        config.hook.pytest_deselected(items=twice)
