"""The verdicts as lines of text for the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ecdd.evidence.declarations import Declared, Expected, difference, not_testable_here
from ecdd.evidence.margins import closest_metric
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.verdicts import judge_gate

Line = tuple[str, str]
_COLOURS = {"pass": "green", "fail": "red", "incomplete": "yellow", "not_tested": "yellow", "not_applicable": "yellow"}


def verdict_lines(records: Mapping[str, ExperimentRecord], expected: Mapping[str, Expected]) -> list[Line]:
    """One line an experiment: verdict, tests, and the metric that failed or came nearest to its limit.

    Parameters
    ----------
    records : mapping of str to ExperimentRecord
        This run's records.
    expected : mapping of str to Expected
        Expected reds.

    Returns
    -------
    list of (text, colour)
        In order of the ids.
    """
    lines = []
    for key, record in records.items():
        counts = record.tests
        note = _note(record, expected)
        text = f"{key:5} {record.verdict.upper():10} {counts.passed}/{counts.declared} tests  {record.title}"
        lines.append((f"{text}{note}", _COLOURS[record.verdict]))
        metric = closest_metric(record.metrics)
        if metric is not None:
            worst = f"  worst: {metric.worst[0]}" if metric.worst else ""
            value = "nothing finite" if metric.value is None else f"{metric.value:.6g}"
            lines.append((f"      {metric.name} = {value} {metric.unit} {metric.op} {metric.limit}{worst}", ""))
        lines += [(f"      {failure.splitlines()[0]}", "red") for failure in record.failures[:3]]
        lines += [(f"      declared test missing: {name}", "yellow") for name in counts.missing]
        lines += [(f"      test is not declared: {name}", "red") for name in counts.undeclared]
    return lines


def _note(record: ExperimentRecord, expected: Mapping[str, Expected]) -> str:
    if not_testable_here(record, expected):
        return f" (not testable here: {record.not_tested[0].why})"
    return " (expected)" if record.id in expected and not difference(record, expected) else ""


def gate_lines(records: Mapping[str, ExperimentRecord], declared: Mapping[str, Declared]) -> list[Line]:
    """One line a gate: red when any experiment is, incomplete when not all passed that the contract lets apply."""
    lines = []
    for gate in sorted({about.gate for about in declared.values()}):
        wanted = [key for key, about in declared.items() if about.gate == gate]
        verdicts = {key: records[key].verdict for key in wanted if key in records}
        if not verdicts:
            continue
        state, passed, many = judge_gate([verdicts.get(key, "not_run") for key in wanted])
        ruled_out = len(wanted) - many
        colour = {"fail": "red", "pass": "green"}.get(state, "yellow")
        more = f", {ruled_out} not applicable" if ruled_out else ""
        lines.append((f"{gate}: {state.upper()}, {passed} of {many} experiments passed{more}", colour))
    return lines


def not_tested_lines(records: Mapping[str, ExperimentRecord]) -> list[str]:
    """What could not be measured, and why: one line an entry of a record."""
    return [
        f"not tested: {key} {entry.what}: {entry.why}"
        for key, record in records.items()
        for entry in dict.fromkeys(record.not_tested)
    ]


def mutant_lines(reports: Iterable[Any]) -> list[Line]:
    """Coverage of the mutants: killed and planted by gate, survivors by name.

    Parameters
    ----------
    reports : iterable of TestReport
        Reports whose user property ``mutant`` says gate and name.

    Returns
    -------
    list of (text, colour)
        Empty when no mutant was planted.
    """
    planted: dict[str, dict[str, bool]] = {}
    for report in reports:
        names = [value for key, value in report.user_properties if key == "mutant"]
        if report.when == "call" and names:
            gate, _, name = str(names[0]).partition(" ")
            planted.setdefault(gate, {})[name] = report.passed
    lines = []
    for gate, outcomes in sorted(planted.items()):
        killed = sum(outcomes.values())
        lines.append((f"mutants {gate}: {killed} killed of {len(outcomes)} planted", "green"))
        lines += [(f"mutants {gate}: {name} SURVIVED", "red") for name, dead in sorted(outcomes.items()) if not dead]
    return lines
