"""Benchmarks that cannot flatter: tables come from the kept numbers, and a fast wrong answer fails."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.contract.schema import PolicyContract
from ecdd.inference.calibration import AppliedCalibration
from ecdd.runtimes.base import ModelOutputs
from gates.benchmarks.runtimes.answers import Reference, WrongAnswer, check, difference, joined
from gates.benchmarks.runtimes.results import Promise, pareto
from gates.benchmarks.runtimes.run import JSON_NAME, ROOT
from gates.benchmarks.runtimes.tables import in_page, report
from gates.support.mode_parity import SameTensors

KEPT = ROOT / "reports" / "default" / JSON_NAME
FACES = 6


@pytest.fixture(scope="module")
def kept() -> Any:
    return json.loads(KEPT.read_text("utf-8"))


def test_the_page_shows_the_kept_numbers(kept: Any) -> None:
    page = (ROOT / "docs" / "speed.md").read_text("utf-8")
    assert in_page(page, kept) == page, "docs/speed.md is stale: run `python -m gates.benchmarks.runtimes.run`"


def test_the_report_shows_the_kept_numbers(kept: Any) -> None:
    assert KEPT.with_suffix(".md").read_text("utf-8") == report(kept)


def test_another_number_makes_another_page(kept: Any) -> None:
    changed = copy.deepcopy(kept)
    changed["promises"][0]["value"] += 1
    page = (ROOT / "docs" / "speed.md").read_text("utf-8")
    assert in_page(page, changed) != page


@pytest.mark.parametrize("page", ["no marks", "<!-- end of what is made -->"])
def test_a_page_without_the_marks_is_refused(kept: Any, page: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        in_page(page, kept)


def test_verdicts_follow_from_the_kept_numbers(kept: Any) -> None:
    for one in kept["promises"]:
        again = Promise(one["metric"], one["value"], one["best"], one["op"], one["limit"]).stored()["verdict"]
        assert again == one["verdict"], one["metric"]


def test_a_promise_without_a_number_is_not_tested() -> None:
    assert Promise("speed", None, None, ">=", 1.8, "no compiler").stored()["verdict"] == "not tested"


def test_pareto_marks_only_what_nothing_beats() -> None:
    def mode(name: str, dp: float) -> dict[str, Any]:
        return {"name": name, "golden": {"max_dp": dp}}

    def way(name: str, ms: float) -> dict[str, Any]:
        times = {"median_ms": ms, "min_ms": ms, "times_faster_than_eager": 1.0}
        return {"runtime": "TFLite", "mode": name, "delegate": "xnnpack", "threads": 1, **times}

    modes = [mode("slow and exact", 0.0), mode("fast and coarse", 0.1), mode("beaten", 0.2)]
    rows = pareto(modes, [way("slow and exact", 2.0), way("fast and coarse", 1.0), way("beaten", 1.5)])
    assert [(row["name"], row["optimal"]) for row in rows] == [
        ("fast and coarse", True),
        ("beaten", False),
        ("slow and exact", True),
    ]


@pytest.fixture(scope="module")
def right(same_tensors: SameTensors) -> ModelOutputs:
    """Of a few golden faces."""
    assert same_tensors.reference.pooled is not None
    return ModelOutputs(same_tensors.reference.maps[:FACES], same_tensors.reference.pooled[:FACES])


@pytest.fixture(scope="module")
def reference(right: ModelOutputs, policy: PolicyContract) -> Reference:
    return Reference.of(right.maps.astype(np.float64), policy, AppliedCalibration(), None)


@pytest.mark.parametrize("mode", ["float32", "full_int8"])
def test_right_answers_pass(right: ModelOutputs, reference: Reference, policy: PolicyContract, mode: str) -> None:
    found = difference(reference, right, policy, AppliedCalibration(), None)
    check(found, "itself", mode, policy)


@pytest.mark.parametrize("mode", ["float32", "full_int8"])
@pytest.mark.parametrize("wrong", ["transposed", "next face's", "constant", "not finite"])
def test_wrong_answers_fail(
    right: ModelOutputs, reference: Reference, policy: PolicyContract, mode: str, wrong: str
) -> None:
    maps = right.maps
    made = {
        "transposed": maps.transpose(0, 2, 1),
        "next face's": np.roll(maps, 1, axis=0),
        "constant": np.zeros_like(maps),
        "not finite": np.where(maps == maps.max(), np.float32(np.nan), maps),
    }[wrong]
    found = difference(reference, ModelOutputs(made, right.pooled), policy, AppliedCalibration(), None)
    with pytest.raises(WrongAnswer, match="does not compute the network"):
        check(found, wrong, mode, policy)


def test_calls_that_differ_fail() -> None:
    one, other = (ModelOutputs(np.full((1, 2, 2), value, np.float32), None) for value in (0, 1))
    assert joined({0: [one, one]}, 1, "steady").maps.shape == (1, 2, 2)
    with pytest.raises(WrongAnswer, match="different maps"):
        joined({0: [one, other]}, 1, "unsteady")
    with pytest.raises(WrongAnswer, match="never computed"):
        joined({0: [one]}, 2, "lazy")


def test_the_report_names_no_path(kept: Any) -> None:
    text = json.dumps(kept)
    assert str(Path.home()) not in text
    assert "/tmp" not in text  # noqa: S108
