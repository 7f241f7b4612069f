"""A control is the tests of a mutant without any defect: where the session runs those tests itself, once is enough."""

from __future__ import annotations

import pytest

from ecdd.evidence.pytest_plugin import RUN
from gates.mutants.catalogue import MUTANTS


@pytest.hookimpl(trylast=True)  # after -k and -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the controls that the session's own clauses are; a clause that may be red is no control."""
    own = {item.nodeid for item in items} | {item.nodeid.partition("[")[0] for item in items}
    may_be_red = config.stash[RUN].expected.keys()
    needed = {
        mutant.tests.partition("::")[0]
        for mutant in MUTANTS.values()
        if mutant.experiment in may_be_red or not _runs_here(mutant.tests, own)
    }
    twice = [
        item
        for item in items
        if getattr(item, "originalname", "") == "test_the_same_tests_are_green_without_a_mutant"
        and item.callspec.params["file"] not in needed  # type: ignore[attr-defined]
    ]
    if twice:
        items[:] = [item for item in items if item not in set(twice)]
        config.hook.pytest_deselected(items=twice)


def _runs_here(tests: str, own: set[str]) -> bool:
    return tests in own if "::" in tests else any(nodeid.startswith(f"{tests}::") for nodeid in own)
