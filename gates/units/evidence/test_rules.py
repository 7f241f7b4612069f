"""Rules beside a clause: each test measures by its outcome, all count, and without them no experiment is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ecdd.evidence.clause_files import read_clauses
from ecdd.evidence.declarations import DeclarationError
from ecdd.evidence.merging import read_records
from ecdd.evidence.report_rows import shown_metrics
from gates.units.evidence.conftest import GREEN, Project

pytest_plugins = ["pytester"]

MARK = 'import pytest\n\npytestmark = pytest.mark.experiment("E1.1", rules=True)\n'
RULES = f"""{MARK}

@pytest.mark.parametrize("x", [1, 2, 3])
def test_small(x):
    assert x < 4

def test_refused():
    with pytest.raises(ValueError):
        raise ValueError
"""
BROKEN = {
    "assertion": ("assert x < 4", "assert x < 3", ["test_small[3]"]),
    "failed by name": ("raise ValueError", "pass", ["test_refused"]),
    "another error": ("assert x < 4", "1 / (x - 1)", ["test_small[1]"]),
}


@pytest.fixture
def ruled(project: Project) -> Project:
    project.write("gates/rules/test_e1_1_rules.py", RULES)
    path = project.root / "gates" / "declared.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["E1.1"] |= {"rules_file": "gates/rules/test_e1_1_rules.py", "rules": ["test_small", "test_refused"]}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return project


def test_rules_count_as_tests_of_their_experiment(ruled: Project, workers: int | None) -> None:
    assert ruled.run("gates", workers=workers).ret == 0
    record = ruled.record("E1.1")
    assert (record["verdict"], record["tests"]["declared"], record["tests"]["passed"]) == ("pass", 4, 4)
    held = [metric for metric in record["metrics"] if metric["name"] == "rules_broken"]
    assert len(held) == 4
    assert {(metric["value"], metric["limit"], metric["n"], metric["clause"]) for metric in held} == {(0, 0, 1, "E1.1")}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_rule_is_a_red_experiment_and_is_named(ruled: Project, name: str) -> None:
    right, wrong, worst = BROKEN[name]
    ruled.write("gates/rules/test_e1_1_rules.py", RULES.replace(right, wrong))
    assert ruled.run("gates").ret == 1
    record = ruled.record("E1.1")
    assert record["verdict"] == "fail"
    assert record["failures"]
    red = [metric for metric in record["metrics"] if metric["verdict"] == "fail"]
    assert [(metric["name"], metric["value"], metric["worst"]) for metric in red] == [("rules_broken", 1, worst)]


@pytest.mark.parametrize(("raised", "verdict"), [("NotTested('a', 'no data')", "not_tested"),
                                                 ("NotApplicable('a', 'a.b')", "not_applicable")])  # fmt: skip
def test_rules_that_hold_measure_nothing_of_a_bundle(ruled: Project, raised: str, verdict: str) -> None:
    """What could not be measured does not pass because the code under it is right."""
    clause = re.sub(r"    evidence\.check.*", f"    raise {raised}", GREEN)
    ruled.write("gates/test_1.py", f"from ecdd.evidence.unmeasured import NotApplicable, NotTested\n{clause}")
    ruled.run("gates")
    assert ruled.record("E1.1")["verdict"] == verdict
    ruled.write("gates/rules/test_e1_1_rules.py", RULES.replace("x < 4", "x < 3"))
    assert ruled.run("gates").ret == 1
    assert ruled.record("E1.1")["verdict"] == "fail"


@pytest.mark.parametrize("change", ["skipped", "deleted", "file deleted"])
def test_a_rule_that_does_not_run_is_missed(ruled: Project, change: str) -> None:
    path = ruled.root / "gates" / "rules" / "test_e1_1_rules.py"
    if change == "file deleted":
        path.unlink()
    elif change == "skipped":
        path.write_text(RULES.replace("def test_refused", "@pytest.mark.skip(reason='no')\ndef test_refused"))
    else:
        path.write_text(RULES[: RULES.index("def test_refused")])
    assert ruled.run("gates").ret == 1
    assert ruled.record("E1.1")["verdict"] == "fail"


def test_a_clause_brings_its_rules(ruled: Project, workers: int | None) -> None:
    for asked in (["gates/test_1.py"], ["gates/test_1.py", "gates/rules/test_e1_1_rules.py"]):
        assert ruled.run(*asked, workers=workers).ret == 0
        record = ruled.record("E1.1")
        assert (record["verdict"], record["tests"]["collected"], len(record["metrics"])) == ("pass", 4, 6)


@pytest.mark.parametrize("asked", ["gates/rules/test_e1_1_rules.py", "gates/test_1.py::test_a"])
def test_a_part_of_clause_and_rules_is_a_part(ruled: Project, asked: str) -> None:
    assert ruled.run(asked).ret == 0
    assert ruled.record("E1.1", incomplete=True)["verdict"] == "incomplete"
    assert not ruled.has_record("E1.1")


def test_a_report_shows_rules_that_hold_in_one_row(ruled: Project) -> None:
    ruled.write("gates/rules/test_e1_1_rules.py", RULES.replace("x < 4", "x < 3"))
    ruled.run("gates")
    record = read_records(next(ruled.root.glob("reports/**/phase1_results")).parent)["E1.1"]
    shown = [(metric.name, metric.value, metric.n) for metric in shown_metrics(record.metrics)]
    assert sorted(shown) == [
        ("error", 0.25, 3), ("recall", 1.0, 2), ("rules_broken", 0, 3), ("rules_broken", 1, 1)
    ]  # fmt: skip
    assert shown[-1] == ("rules_broken", 0, 3)


def _write(root: Path, **rules: str) -> Path:
    text = f'"""E1.1 a title: a clause.\n\nIt matters.\n"""\n{GREEN}'
    for name, content in {"test_e1_1_clause": text, **rules}.items():
        path = root / "gates" / "g1" / ("rules" if name in rules else "") / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_rules_are_declared_from_their_file(tmp_path: Path) -> None:
    clause = read_clauses(_write(tmp_path, test_e1_1_numbers=RULES))["E1.1"]
    assert clause.declared.rules_file == "gates/g1/rules/test_e1_1_numbers.py"
    assert clause.declared.rules == ["test_small", "test_refused"]
    assert clause.declared.files == (clause.declared.file, clause.declared.rules_file)
    assert (clause.checks[-1].name, clause.checks[-1].op, clause.checks[-1].limit) == ("rules_broken", "==", "0")
    assert list(clause.declared.file_of) == ["test_a", "test_b", "test_small", "test_refused"]


@pytest.mark.parametrize("files", [{"test_e1_1_numbers": RULES.replace("E1.1", "E1.2")},
                                   {"test_e1_1_numbers": RULES.replace(", rules=True", "")},
                                   {"test_e1_1_numbers": RULES, "test_e1_1_more": RULES}])  # fmt: skip
def test_rules_without_their_mark_or_in_two_files_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(DeclarationError, match=r"rules of E1\.1 are one file"):
        read_clauses(_write(tmp_path, **files))
