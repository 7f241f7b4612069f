"""Records of several runs in one folder: each is held against the very tests that it was merged from."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import xdist.plugin

from ecdd.evidence.edits import find_edits
from ecdd.evidence.head import read_head
from ecdd.evidence.merging import read_records, write_records
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.soundness import _known_distribution, foreign_plugins, origin_of, unsound_runs
from ecdd.evidence.verdicts import judge_metric
from gates.support.made_evidence import rehash
from gates.units.evidence.conftest import GREEN, Project

pytest_plugins = ["pytester"]


def _folder(project: Project) -> Path:
    (index,) = (project.root / "reports").glob("**/index.json")
    return index.parent


def _rewrite(folder: Path, key: str, **changes: object) -> None:
    """Edit a record as one would who knows the head: its digests are made anew, and its verdict follows."""
    record = read_records(folder)[key]
    metric = record.metrics[0].model_copy(update=changes)
    judged = metric.model_copy(update={"verdict": judge_metric(metric.value, metric.op, metric.limit, metric.n)})
    edited = record.model_copy(update={"metrics": (judged, *record.metrics[1:])})
    write_records(folder, {key: ExperimentRecord.model_validate(edited.model_dump())})
    rehash(folder)


def test_runs_after_one_another_agree(project: Project, workers: int | None) -> None:
    """The whole, then a part of it, then another file, then the whole again: no honest folder is called edited."""
    one = workers and 1  # a second worker would have no test
    runs = ((("gates",), workers), (("gates", "-k", "test_a"), one), (("gates/test_2.py",), one), (("gates",), workers))
    for arguments, started in runs:
        assert project.run(*arguments, workers=started).ret == 0
        assert find_edits(_folder(project)) == [], arguments


def test_a_record_that_was_rewritten_with_its_index_is_found(project: Project) -> None:
    assert project.run("gates").ret == 0
    _rewrite(_folder(project), "E1.1", value=0.1)
    assert find_edits(_folder(project)) == ["E1.1: the record is not what its tests in evidence.jsonl measured"]


def test_a_record_of_an_earlier_run_is_still_held_to_its_tests(project: Project) -> None:
    assert project.run("gates").ret == 0
    assert project.run("gates/test_2.py").ret == 0
    _rewrite(_folder(project), "E1.1", limit=0.9)
    assert any("E1.1: the record is not what its tests" in text for text in find_edits(_folder(project)))


def test_a_red_test_cannot_be_left_out(project: Project) -> None:
    """The failing test's line is dropped and the chain made anew: the record says that more tests ran."""
    project.write("gates/test_1.py", GREEN.replace("0.25", "0.75"))
    assert project.run("gates").ret == 1
    path = _folder(project) / "evidence.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["test"]["test"] != "test_a"))
    assert any("edited, removed or exchanged" in text for text in find_edits(_folder(project)))


PATCH = """
from ecdd.evidence.collecting import Evidence

really = Evidence.check

def pytest_sessionstart():
    Evidence.check = lambda self, name, value, **how: really(self, name, how["limit"], **how)

def pytest_sessionfinish():
    Evidence.check = really
"""
BESIDE = """
import pytest

def test_green():
    assert 1 < 2

def test_red():
    assert 1 > 2

@pytest.mark.skip
def test_left_out():
    pass

@pytest.mark.skip(reason="needs a second machine")
def test_elsewhere():
    pass
"""


def test_the_head_says_what_became_of_every_test(project: Project, workers: int | None) -> None:
    """Of an experiment or not: a red, and a skip without a reason, make the run unclean; page one says so."""
    project.write("gates/test_unit.py", BESIDE)
    assert project.run("gates", workers=workers).ret == 1
    (run,) = read_head(_folder(project))[0].runs
    assert {name.partition("::")[2]: outcome for name, outcome in run.tests.items()} == {
        "test_a": "passed",
        "test_b": "passed",
        "test_c": "passed",
        "test_green": "passed",
        "test_red": "failed",
        "test_left_out": "skipped: unconditional skip",
        "test_elsewhere": "skipped: needs a second machine",
    }
    (said,) = run.unclean()
    assert "test_red failed" in said
    assert "test_left_out" in said
    assert "test_elsewhere" not in said
    assert "was not clean" in (_folder(project) / "index.html").read_text(encoding="utf-8")


def test_an_expected_red_is_red_in_the_head(project: Project) -> None:
    project.write("gates/test_1.py", GREEN.replace("0.25", "0.75"))
    entry = {"verdict": "fail", "value": "0.75", "reason": "the limit is kept", "metrics": {"error": 0.75}}
    assert project.run("gates", project.expect({"E1.1": entry})).ret == 0
    (run,) = read_head(_folder(project))[0].runs
    assert run.tests["gates/test_1.py::test_a"] == "failed"


def test_a_plugin_that_patches_what_measures_is_named(project: Project) -> None:
    """The patch itself stays unseen: 0.75 passes a limit of 0.5; the plugin that made it does not."""
    project.write("gates/test_1.py", GREEN.replace("0.25", "0.75"))
    project.write("kind.py", PATCH)
    project.pytester.syspathinsert()
    assert project.run("gates", "-p", "kind").ret == 0
    (run,) = read_head(_folder(project))[0].runs
    assert run.plugins["kind"].startswith("sha256 ")
    assert any("gates do not know: kind (sha256" in text for text in unsound_runs([run]))


def test_a_record_of_another_version_ends_the_run_in_words(project: Project) -> None:
    assert project.run("gates").ret == 0
    path = _folder(project) / "phase2_results" / "E2.1.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    result = project.run("gates/test_1.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ecdd harness error: *E2.1.json: not a record*run the gates again*"])


def test_a_plugin_is_named_whatever_it_calls_its_module(tmp_path: Path) -> None:
    file = tmp_path / "helper.py"
    file.write_text("", encoding="utf-8")
    module = ModuleType("_pytest.helper")
    module.__file__ = str(file)
    manager = pytest.PytestPluginManager()
    manager.register(module, "helper")
    named = foreign_plugins(manager)
    assert named["_pytest.helper"] == origin_of(file)
    assert not {name for name in named if name.startswith("_pytest.") and name != "_pytest.helper"}


def test_what_calls_itself_a_worker_of_xdist_is_a_plugin_like_any() -> None:
    """The true one is none: the evidence of every run with ``-n`` would be refused."""
    remote = pytest.importorskip("xdist.remote", reason="workers are those of pytest-xdist")
    source = Path(remote.__file__).read_text(encoding="utf-8")
    changed = source.replace("class WorkerInteractor:", "class WorkerInteractor:\n    def pytest_patched(self): ...\n")
    for text, unknown in ((source, False), (changed, True)):
        names: dict[str, Any] = {"__name__": "__channelexec__"}
        exec(compile(text.partition("\nif __name__")[0], "", "exec", dont_inherit=True), names)  # noqa: S102
        manager, kind = pytest.PytestPluginManager(), names["WorkerInteractor"]
        manager.register(kind.__new__(kind), "worker")
        assert ("__channelexec__" in foreign_plugins(manager)) is unknown


def test_a_known_plugin_s_file_is_that_of_its_distribution() -> None:
    version = importlib.metadata.version("pytest-xdist")
    assert _known_distribution(Path(xdist.plugin.__file__)) == f"pytest-xdist {version}"
    assert _known_distribution(Path(__file__)) == ""
