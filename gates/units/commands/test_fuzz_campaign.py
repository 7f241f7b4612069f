"""The fuzz campaign sees what it looks for: exceptions, processes that die or hang, and what a picture may not cost."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from gates.benchmarks import fuzz
from gates.support.fuzz_targets import TARGETS


def _planted(rng: random.Random, _folder: Path, _files: object) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        raise ZeroDivisionError("planted")
    if kind == 1:
        os._exit(7)
    if kind == 2:
        time.sleep(60)
    return "fine"


def test_what_goes_wrong_is_named_and_the_campaign_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "pictures", _planted)
    monkeypatch.setattr(fuzz, "_HANGS", 1.0)
    found = fuzz.Summary()
    for one in fuzz.campaign(30.0, 1, 2, ["pictures"], {}):
        found.add(one)
        if found.inputs >= 16:
            break
    said = "\n".join(found.problems)
    for problem in ("ZeroDivisionError: planted (test_fuzz_campaign.py:", "ended with 7", "no end within 1 s"):
        assert problem in said
    assert found.outcomes["fine"] > 0
    assert found.outcomes["problem"] == len(found.problems)


def test_a_picture_that_costs_too_much_is_a_problem() -> None:
    found = fuzz.Summary()
    found.add(fuzz.Tried("shapes", 1, "decoded", seconds=0.1, grown=10**6))
    assert found.problems == []
    found.add(fuzz.Tried("shapes", 2, "decoded", seconds=9.0, grown=10**6))
    found.add(fuzz.Tried("shapes", 3, "decoded", seconds=0.1, grown=10**9))
    assert [problem.split(":")[0] for problem in found.problems] == ["shapes 2", "shapes 3"]
    assert (found.slowest, found.largest) == ((9.0, 2), (10**9, 3))


@pytest.mark.parametrize("target", ["shapes", "pictures", "contracts"])
def test_the_same_seed_makes_the_same_inputs(target: str) -> None:
    one, two = (fuzz.try_one(1, target, 3, {}) for _ in range(2))
    assert one.problem == two.problem == ""
    assert one.outcome == two.outcome
