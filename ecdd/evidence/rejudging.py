"""Stored metrics held to another contract, without running a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ecdd.contract.loading import LoadedContract
from ecdd.evidence.contract_limits import limit_key
from ecdd.evidence.records import ExperimentRecord, Metric, Verdict
from ecdd.evidence.verdicts import finite, judge_metric, judge_record


@dataclass(frozen=True)
class Rejudged:
    """Records under another contract.

    Attributes
    ----------
    before, after : mapping of str to Verdict
        By experiment.
    moved : tuple of str
        Every limit that differs, in words.
    limits : frozenset of str
        Contract keys that are the limit of a stored metric: a change of any other key needs a run.
    """

    before: Mapping[str, Verdict]
    after: Mapping[str, Verdict]
    moved: tuple[str, ...]
    limits: frozenset[str]


def rejudge(records: Mapping[str, ExperimentRecord], contract: LoadedContract) -> Rejudged:
    """Judge stored records by the limits of a contract.

    Parameters
    ----------
    records : mapping of str to ExperimentRecord
        Complete records, by id.
    contract : LoadedContract
        Whose values replace the limits that came from a contract; other limits stand.

    Returns
    -------
    Rejudged
        Verdicts before and after, from the stored numbers alone.
    """
    after: dict[str, Verdict] = {}
    moved: list[str] = []
    limits: set[str] = set()
    for key, record in records.items():
        metrics = []
        for metric in record.metrics:
            name = limit_key(metric)
            limit = metric.limit if name is None else finite(contract.values.get(name))
            if name is not None:
                limits.add(name)
            if limit != metric.limit:
                moved.append(f"{key} {metric.name} = {metric.value}: {name} {metric.limit} -> {limit}")
            metrics.append(_held_to(metric, limit))
        measured = {m.test for m in record.metrics if m.verdict == "fail"} - {
            m.test for m in metrics if m.verdict == "fail"
        }
        after[key] = _verdict(record, tuple(metrics), len({test.partition("[")[0] for test in measured}))
    return Rejudged({key: r.verdict for key, r in records.items()}, after, tuple(moved), frozenset(limits))


def _held_to(metric: Metric, limit: float | None) -> Metric:
    verdict = judge_metric(metric.value, metric.op, limit, metric.n)
    return metric.model_copy(update={"limit": limit, "verdict": verdict})


def _verdict(record: ExperimentRecord, metrics: tuple[Metric, ...], cleared: int) -> Verdict:
    """A test that failed by its metrics alone, all of which hold now, counts as passed."""
    cleared = min(cleared, record.tests.failed)
    counts = {"failed": record.tests.failed - cleared, "passed": record.tests.passed + cleared}
    tests = record.tests.model_copy(update=counts)
    return judge_record(record.model_copy(update={"metrics": metrics, "tests": tests}))
