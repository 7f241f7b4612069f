"""What a run ends with: exit status, printed lines and records, in one process and with workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ecdd.evidence.edits import find_edits
from ecdd.evidence.pytest_plugin import is_freezing
from ecdd.evidence.session import declared_path, file_digest
from ecdd.specification import GATES
from gates.units.evidence.conftest import GREEN, Project

pytest_plugins = ["pytester"]

RED = GREEN.replace("0.25", "0.75")


@pytest.mark.parametrize("option", ["bundle", "contract", "golden", "data", "expected", "dumps"])
def test_a_path_where_nothing_lies_is_a_wrong_call(project: Project, option: str) -> None:
    result = project.run("gates", f"--{option}=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --{option} *nowhere: no such file or folder"])


def test_a_project_s_own_declarations_come_first(tmp_path: Path) -> None:
    assert declared_path(tmp_path) == GATES / "declared.yaml"
    own = tmp_path / "gates" / "declared.yaml"
    own.parent.mkdir()
    own.touch()
    assert declared_path(tmp_path) == own


def test_a_data_set_is_known_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,label\n", encoding="utf-8")
    assert file_digest(tmp_path) == file_digest(tmp_path / "manifest.csv") == sha256(b"path,label\n").hexdigest()
    assert file_digest(None) is None


def test_without_the_plugin_of_snapshots_nothing_is_frozen() -> None:
    nothing: Any = SimpleNamespace(option=SimpleNamespace())
    freezing: Any = SimpleNamespace(option=SimpleNamespace(update_snapshots=True))
    assert (is_freezing(nothing), is_freezing(freezing)) == (False, True)


def test_without_a_summary_there_are_records_and_no_report(project: Project) -> None:
    """Hundreds of runs that nobody reads (planted defects) draw no page."""
    assert project.run("gates", "--no-summary").ret == 0
    assert project.has_record("E1.1")
    assert not list((project.root / "reports").glob("**/index.html"))
    assert project.run("gates").ret == 0
    assert list((project.root / "reports").glob("**/index.html"))


def test_green(project: Project, workers: int | None) -> None:
    result = project.run("gates", workers=workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "ecdd: payload*",
            "E1.1 *PASS *2/2 tests*",
            "*recall = 1 *>= 0.9*",
            "G1: PASS, 1 of 1*",
        ]
    )
    record = project.record("E1.1")
    assert record["verdict"] == "pass"
    assert record["tests"] | {"missing": [], "undeclared": []} == {
        "declared": 2,
        "collected": 2,
        "passed": 2,
        "failed": 0,
        "skipped": 0,
        "missing": [],
        "undeclared": [],
    }
    assert {m["name"]: (m["value"], m["verdict"]) for m in record["metrics"]} == {
        "error": (0.25, "pass"),
        "recall": (1.0, "pass"),
    }
    assert not list((project.root / "reports").glob("**/fragments")), "fragments are removed once they are merged"


def test_a_metric_names_its_clause_or_its_experiment(project: Project) -> None:
    text = GREEN.replace("limit=0.9", "limit=0.9, clause='quality_gates.min_recall'")
    project.write("gates/test_1.py", text)
    assert project.run("gates").ret == 0
    clauses = {one["name"]: one["clause"] for one in project.record("E1.1")["metrics"]}
    assert clauses == {"error": "E1.1", "recall": "quality_gates.min_recall"}
    beside, report = sorted((project.root / "reports").glob("**/junit.xml"))
    properties = ET.parse(report).getroot().iter("property")  # noqa: S314
    said = [(one.get("name"), one.get("value")) for one in properties if one.get("name") != "experiment"]
    metrics = {"E1.1.error": "0.25 <= 0.5 pass", "E1.1.recall": "1.0 >= 0.9 pass", "E2.1.count": "3 == 3 pass"}
    assert (said, beside.read_bytes()) == ([*metrics.items()], report.read_bytes())


def test_red_metric(project: Project, workers: int | None) -> None:
    project.write("gates/test_1.py", RED)
    result = project.run("gates", workers=workers)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*error = 0.75 level over 3, must be <= 0.5; worst: astronaut*", "E1.1 *FAIL*"])
    result.stdout.fnmatch_lines(["G1: FAIL, 0 of 1*", "G2: PASS, 1 of 1*"])
    assert project.record("E1.1")["verdict"] == "fail"


@pytest.mark.parametrize(
    "value", ["float('nan')", "float('inf')", "None", "[]", "'text'", "__import__('numpy').float32('nan')"]
)
def test_what_is_no_number_fails(project: Project, value: str) -> None:
    project.write("gates/test_1.py", GREEN.replace("0.25", value))
    result = project.run("gates/test_1.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*error = nothing finite level over 3, must be <= 0.5*"])
    assert [m["value"] for m in project.record("E1.1")["metrics"] if m["verdict"] == "fail"] == [None]


def test_no_samples_fail(project: Project) -> None:
    project.write("gates/test_1.py", GREEN.replace("n=3", "n=0"))
    assert project.run("gates/test_1.py").ret == 1
    assert project.record("E1.1")["verdict"] == "fail"


def test_a_test_that_checks_nothing_fails(project: Project) -> None:
    project.write("gates/test_1.py", GREEN.replace('evidence.check("recall", 1.0, limit=0.9, op=">=", n=2)', "pass"))
    result = project.run("gates/test_1.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*E1.1: test_b checked nothing*"])


def test_nothing_collected_fails(project: Project, workers: int | None) -> None:
    project.write("gates/test_1.py", "")
    result = project.run("gates/test_1.py", workers=workers)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*nothing was collected*"])
    assert project.record("E1.1")["verdict"] == "fail"


Edit = Callable[[str], str]
BROKEN: dict[str, tuple[Edit, str]] = {
    "deleted_test": (lambda text: text[: text.rindex("@pytest")], "*declared test missing: test_b"),
    "added_test": (
        lambda text: text + text[text.rindex("@pytest") :].replace("test_b", "test_new"),
        "*test is not declared: test_new",
    ),
    "empty_parametrize": (
        lambda text: text.replace(
            "def test_b(evidence)", "@pytest.mark.parametrize('x', [])\ndef test_b(evidence, x)", 1
        ),
        "E1.1 *FAIL *1/2 tests*",
    ),
    "skip": (
        lambda text: text.replace("def test_b", "@pytest.mark.skip(reason='later')\ndef test_b"),
        "E1.1 *FAIL *1/2 tests*",
    ),
    "xfail_as_pass": (
        lambda text: text.replace("1.0", "0.1").replace("def test_b", "@pytest.mark.xfail(reason='known')\ndef test_b"),
        "E1.1 *FAIL *1/2 tests*",
    ),
    "xpass_strict": (
        lambda text: text.replace("def test_b", "@pytest.mark.xfail(strict=True, reason='old')\ndef test_b"),
        "E1.1 *FAIL *1/2 tests*",
    ),
    "xpass": (
        lambda text: text.replace("def test_b", "@pytest.mark.xfail(strict=False)\ndef test_b"),
        "E1.1 *FAIL *1/2 tests*",
    ),
    "setup_breaks": (
        lambda text: (
            text.replace("test_b(evidence)", "test_b(evidence, broken)")
            + "\n@pytest.fixture\ndef broken():\n    raise RuntimeError('no disk')\n"
        ),
        "*test_b: RuntimeError: no disk*",
    ),
    "teardown_breaks": (
        lambda text: (
            text.replace("test_b(evidence)", "test_b(evidence, broken)")
            + "\n@pytest.fixture\ndef broken():\n    yield\n    raise RuntimeError('no disk')\n"
        ),
        "*test_b: RuntimeError: no disk*",
    ),
    "test_breaks": (
        lambda text: text.replace('evidence.check("recall"', '1 / 0\n    evidence.check("recall"'),
        "*test_b: ZeroDivisionError*",
    ),
    "does_not_import": (lambda text: "import no_such_module\n" + text, "*declared test missing: test_a*"),
}


# with workers a report travels between processes: those breaks that depend on it are tried there too
WITH_WORKERS = ("deleted_test", "added_test", "empty_parametrize", "xfail_as_pass", "xpass", "teardown_breaks")


@pytest.mark.parametrize(
    ("name", "workers"),
    [(name, 0) for name in BROKEN] + [(name, n) for name in WITH_WORKERS for n in (None, 1)],
    ids=str,
)
def test_broken_tests_fail(project: Project, workers: int | None, name: str) -> None:
    edit, line = BROKEN[name]
    project.write("gates/test_1.py", edit(GREEN))
    result = project.run("gates", workers=workers)
    assert result.ret != 0
    if name == "does_not_import":  # pytest stops before it runs anything
        result.stdout.fnmatch_lines(["*No module named 'no_such_module'*"])
        assert not project.has_record("E1.1")
        return
    result.stdout.fnmatch_lines([line])
    assert project.record("E1.1")["verdict"] == "fail"
    expected = project.expect(
        {"E1.1": {"verdict": "fail", "value": "-", "reason": "a reason", "metrics": {"recall": 1}}}
    )
    again = project.run("gates", expected)
    assert again.ret != 0, "a test that broke is never expected"
    again.stdout.fnmatch_lines(["*unexpected verdict: E1.1*"])


def test_deleted_file_fails(project: Project) -> None:
    (project.root / "gates/test_1.py").unlink()
    result = project.run("gates")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["E1.1 *FAIL *0/2 tests*", "*declared test missing: test_a"])


def test_undeclared_experiment_fails(project: Project) -> None:
    project.declare({"E2.1": ["test_c"]})
    result = project.run("gates")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["E1.1 *FAIL*not declared*"])


def test_failing_unit_test_fails_the_run(project: Project, workers: int | None) -> None:
    project.write("gates/test_unit.py", "def test_it():\n    assert 1 == 2\n")
    for options in ((), (project.expect({}),)):
        assert project.run("gates", *options, workers=workers).ret == 1
    assert project.record("E1.1")["verdict"] == "pass"


def test_crashed_worker_fails(project: Project) -> None:
    project.write("gates/test_1.py", GREEN + "    __import__('os')._exit(9)\n")
    result = project.run("gates", project.expect({}), workers=2)
    assert result.ret == 1
    assert project.record("E1.1")["verdict"] == "fail"
    result.stdout.fnmatch_lines(["*test_b: collected, but it never finished*"])


PARAMETRISED = GREEN.replace(
    "def test_b(evidence)", "@pytest.mark.parametrize('x', ['one', 'two'])\ndef test_b(evidence, x)"
)
PARTS: dict[str, tuple[str, ...]] = {
    "keyword": ("gates", "-k", "test_a or test_c"),
    "node": ("gates/test_1.py::test_a", "gates/test_2.py"),
    "parameter_node": ("gates/test_1.py::test_a", "gates/test_1.py::test_b[one]", "gates/test_2.py"),
    "parameter_keyword": ("gates", "-k", "not two"),
    "deselect": ("gates", "--deselect", "gates/test_1.py::test_b[two]"),
}


@pytest.mark.parametrize(
    ("name", "workers"),
    [(name, 0) for name in PARTS] + [(name, n) for name in ("parameter_node", "parameter_keyword") for n in (None, 1)],
    ids=str,
)
def test_a_part_is_incomplete(project: Project, workers: int | None, name: str) -> None:
    project.write("gates/test_1.py", PARAMETRISED)
    assert project.run("gates").ret == 0
    before = project.record("E1.1")
    result = project.run(*PARTS[name], workers=workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["E1.1 *INCOMPLETE*", "E2.1 *PASS*", "G1: INCOMPLETE, 0 of 1*"])
    assert project.record("E1.1") == before, "a part never replaces the whole"
    assert project.record("E1.1", incomplete=True)["verdict"] == "incomplete"
    assert project.run(*PARTS[name], project.expect({})).ret == 1, "incomplete is not pass"
    assert project.run("gates", workers=workers).ret == 0
    assert not list((project.root / "reports").glob("**/*.incomplete.json")), "the whole replaces the part"


def test_a_red_part_exits_1(project: Project) -> None:
    assert project.run("gates").ret == 0
    project.write("gates/test_1.py", RED)
    result = project.run("gates/test_1.py::test_a")
    assert result.ret == 1
    assert project.record("E1.1")["verdict"] == "pass", "the whole record stands until a whole run replaces it"
    failing = [m["name"] for m in project.record("E1.1", incomplete=True)["metrics"] if m["verdict"] == "fail"]
    assert failing == ["error"]


def test_stopping_early_is_incomplete(project: Project) -> None:
    project.write("gates/test_1.py", RED)
    assert project.run("gates", "-x").ret != 0
    assert not project.has_record("E1.1")


def _entry(**changes: Any) -> dict[str, Any]:
    return {"verdict": "fail", "value": "0.75", "reason": "tried everything", "metrics": {"error": 0.75}} | changes


def test_expected_red(project: Project, workers: int | None) -> None:
    project.write("gates/test_1.py", RED)
    option = project.expect({"E1.1": _entry()})
    result = project.run("gates", option, workers=workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["E1.1 *FAIL*(expected)*", "G1: FAIL*"])
    assert project.record("E1.1")["verdict"] == "fail", "the record shows the real verdict"
    assert project.run("gates").ret == 1, "without --expected a red is a red"


def test_two_reds_of_one_experiment_are_expected_together(project: Project) -> None:
    project.write("gates/test_1.py", RED.replace("1.0", "0.5"))
    assert project.run("gates", project.expect({"E1.1": _entry(metrics={"error": 0.75, "recall": 0.5})})).ret == 0


DIFFERENT: dict[str, tuple[str, dict[str, Any], str]] = {
    "better": (GREEN, {"E1.1": _entry()}, "E1.1 is pass, expected fail"),
    "worse": (RED, {}, "E1.1 is fail, expected pass"),
    "another_value": (RED, {"E1.1": _entry(metrics={"error": 0.7})}, "E1.1: error = 0.75, expected 0.7"),
    "another_metric": (RED, {"E1.1": _entry(metrics={"recall": None})}, "*error is red too*"),
    "one_more_metric": (RED.replace("1.0", "0.5"), {"E1.1": _entry()}, "E1.1: recall is red too"),
}


@pytest.mark.parametrize("name", list(DIFFERENT))
def test_any_difference_from_expected_fails(project: Project, name: str) -> None:
    text, entries, line = DIFFERENT[name]
    project.write("gates/test_1.py", text)
    result = project.run("gates", project.expect(entries))
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"unexpected verdict: {line}"])


STALE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_experiment": ({"E9.9": _entry()}, "*no such experiment: E9.9*"),
    "no_reason": ({"E1.1": _entry(reason="")}, "*reason*"),
    "no_metric": ({"E1.1": _entry(metrics={})}, "*metrics: name the red metrics*"),
    "expected_pass": ({"E1.1": _entry(verdict="pass")}, "*verdict*"),
}


@pytest.mark.parametrize("name", list(STALE))
def test_wrong_entries_are_harness_errors(project: Project, name: str) -> None:
    entries, line = STALE[name]
    result = project.run("gates", project.expect(entries))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ecdd harness error: *expected.yaml*"])
    result.stdout.fnmatch_lines([line])


EVERY_END = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no device")

@pytest.mark.experiment("E2.1")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_c(evidence, number):
    evidence.check("count", number, limit=2)

@pytest.mark.experiment("E2.1")
def test_d(evidence, broken):
    evidence.check("count", 1, limit=2)

@pytest.mark.experiment("E2.1")
def test_e(evidence):
    pytest.skip("not here")

def test_unit():
    assert 1 < 2
"""


def test_evidence_has_one_line_a_test_of_an_experiment(project: Project, workers: int | None) -> None:
    """However a test ends; those without an experiment measure nothing and stand in JUnit alone."""
    project.write("gates/test_2.py", EVERY_END)
    project.declare({"E1.1": ["test_a", "test_b"], "E2.1": ["test_c", "test_d", "test_e"]})
    assert project.run("gates", workers=workers).ret == 1
    (chain,) = project.root.glob("reports/runs/*/evidence.jsonl")
    tests = [json.loads(line)["test"] for line in chain.read_text(encoding="utf-8").splitlines()]
    assert [(one["nodeid"].partition("::")[2], one["outcome"]) for one in tests] == [
        ("test_a", "passed"),
        ("test_b", "passed"),
        ("test_c[1]", "passed"),
        ("test_c[2]", "passed"),
        ("test_c[3]", "failed"),
        ("test_d", "failed"),
        ("test_e", "skipped"),
    ]
    cases = list(ET.parse(chain.with_name("junit.xml")).getroot().iter("testcase"))  # noqa: S314
    assert len(cases) == len(tests) + 1
    said = {case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases}
    assert said["test_c[3]"] == {"experiment": "E2.1", "E2.1.count": "3 <= 2 fail"}
    assert said["test_unit"] == {}
    assert find_edits(chain.parent) == []
