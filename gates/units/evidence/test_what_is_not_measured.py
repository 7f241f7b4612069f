"""What a run says of a clause that nobody could measure, or that the contract rules out: neither is a pass."""

from __future__ import annotations

import pytest

from ecdd.evidence.edits import find_edits
from gates.units.evidence.conftest import Project

pytest_plugins = ["pytester"]


def test_not_tested_is_no_pass(project: Project) -> None:
    project.write("gates/test_2.py", OTHER_NOT_TESTED)
    result = project.run("gates")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["E2.1 *NOT_TESTED*", "G2: INCOMPLETE, 0 of 1*"])
    assert project.run("gates", project.expect({})).ret == 1
    entry = {"verdict": "not_tested", "value": "none", "reason": "no such device here"}
    assert project.run("gates", project.expect({"E2.1": entry})).ret == 0


def test_not_testable_here_is_no_other_verdict(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for the reason that the entry names, and not where everything must be testable."""
    monkeypatch.delenv("CI", raising=False)
    project.write("gates/test_2.py", OTHER_NOT_TESTED)
    entry = {"verdict": "pass", "value": "tested", "reason": "needs a device", "without": "no such device"}
    option = project.expect({"E2.1": entry})
    result = project.run("gates", option)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["E2.1 *NOT_TESTED*(not testable here: no such device)"])
    monkeypatch.setenv("CI", "true")
    assert project.run("gates", option).ret == 1
    monkeypatch.delenv("CI")
    assert project.run("gates", project.expect({"E2.1": entry | {"without": "no browser"}})).ret == 1
    project.write(
        "gates/test_2.py", OTHER_NOT_TESTED.replace('evidence.not_tested("GPU delegate", "no such device")', "1 / 0")
    )
    assert project.run("gates", option).ret == 1, "a test that broke is not one that could not run"


def test_ci_may_lack_what_only_a_variable_asks_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `make edge`, which takes longer than all the rest: needed in CI only where it is asked for."""
    project.write("gates/test_2.py", OTHER_NOT_TESTED)
    entry = {"verdict": "pass", "value": "tested", "reason": "needs a device", "without": "no such device"}
    option = project.expect({"E2.1": entry | {"asked_by": "ECDD_ASKED"}})
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("ECDD_ASKED", raising=False)
    assert project.run("gates", option).ret == 0
    monkeypatch.setenv("ECDD_ASKED", "true")
    assert project.run("gates", option).ret == 1


OTHER_NOT_TESTED = """
import pytest

@pytest.mark.experiment("E2.1")
def test_c(evidence):
    evidence.not_tested("GPU delegate", "no such device")
"""


RAISING = """
import pytest
from ecdd.evidence import NotApplicable, NotTested

@pytest.fixture(scope="session")
def device():
    raise NotTested("GPU delegate", "no such device")

@pytest.mark.experiment("E2.1")
def test_c(evidence):
    evidence.check("count", 1, limit=LIMIT)
    raise NotTested("GPU delegate", "no such device")

@pytest.mark.experiment("E2.1")
@pytest.mark.parametrize("number", [1, 2])
def test_d(device, evidence, number):
    evidence.check("count", 1, limit=0)

@pytest.mark.experiment("E2.2")
def test_e():
    raise NotApplicable("patch map", "pooling.rule")
"""


@pytest.mark.parametrize(("limit", "verdict"), [(2, "pass"), (0, "fail")])
def test_a_test_that_raises_is_not_tested(project: Project, limit: int, verdict: str) -> None:
    """From the test or from a fixture, after a metric or before; what was measured until then counts."""
    project.write("gates/test_2.py", RAISING.replace("LIMIT", str(limit)))
    project.declare({"E2.1": ["test_c", "test_d"], "E2.2": ["test_e"]})
    result = project.run("gates/test_2.py")
    assert result.ret == (verdict == "fail")
    record = project.record("E2.1")
    assert record["verdict"] == verdict
    assert record["not_tested"] == [{"what": "GPU delegate", "why": "no such device"}] * 3
    assert (record["failures"], len(record["metrics"])) == ([], 1)
    assert "not_applicable" not in record


def test_not_applicable_is_no_pass(project: Project) -> None:
    """The knob stands in the record, on page one and in the chain; the gate counts what is left, and says so."""
    project.write("gates/test_2.py", RAISING.replace("LIMIT", "2"))
    project.declare({"E2.1": ["test_c", "test_d"], "E2.2": ["test_e"]})
    result = project.run("gates/test_2.py")
    result.stdout.fnmatch_lines(["E2.2 *NOT_APPLICABLE*", "G2: PASS, 1 of 1 experiments passed, 1 not applicable"])
    record = project.record("E2.2")
    assert record["verdict"] == "not_applicable"
    assert record["not_applicable"] == [{"what": "patch map", "knob": "pooling.rule"}]
    (page,) = project.root.glob("reports/runs/*/index.html")
    assert "<b>E2.2</b> patch map: by <code>pooling.rule</code>" in page.read_text(encoding="utf-8")
    assert find_edits(page.parent) == []


def test_only_an_experiment_may_raise_it(project: Project) -> None:
    project.write("gates/test_2.py", RAISING.replace('@pytest.mark.experiment("E2.2")', "").replace("LIMIT", "2"))
    project.declare({"E2.1": ["test_c", "test_d"]})
    result = project.run("gates/test_2.py")
    result.assert_outcomes(passed=3, failed=1)
    assert result.ret == 1
