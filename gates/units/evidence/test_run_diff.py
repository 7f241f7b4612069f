"""Two runs side by side: what changed, what is noise, and what a pull request is told."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from ecdd.evidence.comparing import MetricChange, _in_noise, compare, noise_of
from ecdd.evidence.merging import read_records
from ecdd.evidence.records import ExperimentRecord, Metric
from ecdd.evidence.run_diff import headline, page
from gates.support.command_calls import ROOT, call

RUN = ROOT / "reports" / "default"


@pytest.fixture(scope="module")
def records() -> dict[str, ExperimentRecord]:
    return read_records(RUN)


def metric(value: float | None, unit: str = "rate", limit: float = 0.5, n: int | None = 100, op: str = "<=") -> Metric:
    return Metric(name="m", test="t", value=value, op=op, limit=limit, unit=unit, n=n, verdict="pass")  # type: ignore[arg-type]


def with_metrics(record: ExperimentRecord, *metrics: Metric, **more: Any) -> ExperimentRecord:
    return record.model_copy(update={"metrics": metrics, **more})


def test_a_run_does_not_differ_from_itself(records: dict[str, ExperimentRecord]) -> None:
    found = compare(records, records)
    assert (found.verdicts, found.limits, found.metrics, found.identity) == ((), (), (), {})
    assert found.compared == len(records) > 40
    assert not found.worse
    assert headline(found) == "no verdict changed"


@pytest.mark.parametrize(
    ("one", "two", "kind", "beyond"),
    [
        (metric(0.10), metric(0.15), "share", False),
        (metric(0.10), metric(0.40), "share", True),
        (metric(0.10, n=100_000), metric(0.15, n=100_000), "share", True),
        (metric(100.0, "MB"), metric(120.0, "MB"), "cost", False),
        (metric(100.0, "MB"), metric(140.0, "MB"), "cost", True),
        (metric(1e-7, "logit", 1e-4), metric(9e-7, "logit", 1e-4), "limit", False),
        (metric(1e-7, "logit", 1e-4), metric(9e-6, "logit", 1e-4), "limit", True),
        (metric(3, "picture", 10), metric(4, "picture", 10), "rounding", True),
        (metric(0.0, "picture", 0.0, op="=="), metric(1.0, "picture", 0.0, op="=="), "rounding", True),
    ],
)
def test_what_moves_beyond_noise(
    records: dict[str, ExperimentRecord], one: Metric, two: Metric, kind: str, beyond: bool
) -> None:
    assert noise_of(one, two)[1] == kind
    record = records["E6.1"]
    found = compare({"E6.1": with_metrics(record, one)}, {"E6.1": with_metrics(record, two)})
    (change,) = found.metrics
    assert (change.before, change.after, change.beyond_noise) == (one.value, two.value, beyond)
    assert bool(found.moved) == beyond


def test_what_moved_is_told_by_its_noise() -> None:
    def change(before: float | None, after: float | None, noise: float) -> MetricChange:
        return MetricChange("E6.1", "m", "rate", before, after, 100, noise, beyond_noise=False)

    assert _in_noise(change(0.1, 0.4, 0.1)) == pytest.approx(3)
    assert _in_noise(change(0.4, 0.1, 0.1)) == pytest.approx(3)
    assert [_in_noise(one) for one in (change(None, 1, 1), change(1, None, 1), change(1, 2, 0))] == [math.inf] * 3


def test_a_number_that_is_gone_or_judged_otherwise_is_no_noise(records: dict[str, ExperimentRecord]) -> None:
    record = records["E6.1"]
    failing = metric(0.15).model_copy(update={"verdict": "fail"})
    for two in (metric(None), failing):
        found = compare({"E6.1": with_metrics(record, metric(0.10))}, {"E6.1": with_metrics(record, two)})
        assert found.moved


def test_verdicts_limits_and_versions(records: dict[str, ExperimentRecord]) -> None:
    first, second, third = records["E6.1"], records["E1.1"], records["E1.2"]
    versions = first.identity.versions | {"numpy": "9.9"}
    moved = first.identity.model_copy(update={"contract_digest": "f" * 64, "versions": versions})
    before = {"E6.1": with_metrics(first, metric(0.1), metric(0.2), verdict="pass"), "E1.1": second, "E1.2": third}
    after = {
        "E6.1": with_metrics(first, metric(0.1, limit=0.4), verdict="fail", identity=moved),
        "E1.2": third.model_copy(update={"verdict": "pass"}),
    }
    before["E1.2"] = third.model_copy(update={"verdict": "fail"})
    found = compare(before, after)
    assert {change.id: (change.before, change.after, change.worse) for change in found.verdicts} == {
        "E6.1": ("pass", "fail", True),
        "E1.1": (str(second.verdict), "absent", second.verdict == "pass"),
        "E1.2": ("fail", "pass", False),
    }
    assert found.worse
    assert [(limit.before, limit.after) for limit in found.limits] == [("<= 0.5", "<= 0.4")]
    assert found.only_before == (("E6.1", "m (2)"),), "the second metric of one name"
    assert found.identity["numpy"][1] == "9.9"
    assert found.identity["contract_digest"][1] == "f" * 64
    assert json.loads(json.dumps(found.to_dict()))["worse"] is True
    assert headline(found).startswith("3 verdicts changed, ")


def test_the_page_shows_all_of_it_and_escapes_names(records: dict[str, ExperimentRecord]) -> None:
    record = records["E6.1"]
    odd = metric(0.4).model_copy(update={"name": "<script>"})
    other = odd.model_copy(update={"value": 0.1, "limit": 0.3})
    after = {"E6.1": with_metrics(record, other, verdict="fail")}
    text = page(compare({"E6.1": with_metrics(record, odd, verdict="pass")}, after), "old", "<new>")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;new&gt;" in text
    assert "1 verdicts changed, 1 for the worse" in text
    assert "<= 0.3" in text.replace("&lt;", "<")
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")


def test_the_command_says_it_in_three_forms(tmp_path: Path) -> None:
    html = tmp_path / "diff.html"
    said = call("diff", [str(RUN), str(RUN), "--html", str(html)])
    assert (said.exit_code, said.stdout.splitlines()[0]) == (0, "no verdict changed")
    assert f"written: {html}" in said.stderr
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    told = json.loads(call("diff", [str(RUN), str(RUN), "--json"]).stdout)
    assert (told["verdicts"], told["worse"], told["compared"]) == ([], False, len(read_records(RUN)))


def test_a_folder_that_was_edited_is_refused(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(RUN, tmp_path / "run"))
    record = copy / "phase1_results" / "E1.1.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"pass"', '"fail"', 1), encoding="utf-8")
    said = call("diff", [str(RUN), str(copy)])
    assert said.exit_code == 2
    assert "not as the run wrote it" in said.stderr
    assert call("diff", [str(RUN), str(tmp_path)]).exit_code == 2
