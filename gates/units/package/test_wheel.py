"""In an empty folder, with nothing but the wheel: commands and gates work, and agree with the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecdd.evidence.declarations import load_specification
from gates.support.command_calls import call
from gates.units.package.conftest import ROOT, Installed, clean_environment

LARGEST = 50_000_000  # bytes of the wheel
EXPECTED = ROOT / "gates" / "expected_verdicts.yaml"
MANIFEST = "path,label,scope,source\npicture.jpg,0,face,own\n"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that nothing of this project is near to."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def g1(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Gate G1 from the wheel, with two workers, judged as the demo is."""
    folder = tmp_path_factory.mktemp("g1")
    return folder, installed.run(folder, "ecdd", "gates", "G1", "-n", "2", "--expected", str(EXPECTED))


def _said(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_wheel_holds_what_it_needs_and_no_unit_tests(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = archive.namelist()
    inside = "ecdd/_specification/"
    for kind in ("*.py", "*.csv", "*.tflite", "*.yaml", "*.j2"):
        wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ecdd").rglob(kind)}
        assert wanted - set(names) == set(), "a file of the package is missing"
    clauses = {f"{inside}{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("gates/*/test_e?_*.py")}
    assert len(clauses) == 51
    assert clauses - set(names) == set()
    units = [
        name for name in names if "/units/" in name and not re.search(r"__init__|test_golden_(stages|outputs)", name)
    ]
    assert units == []
    assert installed.wheel.stat().st_size <= LARGEST


def test_commands_need_no_checkout(installed: Installed, empty: Path) -> None:
    where = _said(installed.run(empty, "python", "-c", "import ecdd; print(ecdd.__file__)"))
    assert str(installed.programs.parent) in where, "not the wheel's"
    (empty / "picture.jpg").write_bytes((ROOT / "golden/in_scope/real_oath_a.jpg").read_bytes())
    (empty / "manifest.csv").write_text(MANIFEST, encoding="utf-8")
    verdict = json.loads(_said(installed.run(empty, "ecdd", "predict", "picture.jpg", "--json")))
    here = call("predict", [str(empty / "picture.jpg"), "--json"])
    assert verdict["probability"] == json.loads(here.stdout)["probability"]
    assert "S8" in _said(installed.run(empty, "ecdd", "trace", "picture.jpg"))
    _said(installed.run(empty, "ecdd", "bundle", "verify"))
    _said(installed.run(empty, "ecdd", "contract", "show"))
    _said(installed.run(empty, "ecdd", "score", "--data", "manifest.csv", "--out", "scores.parquet"))
    _said(installed.run(empty, "ecdd", "parity", "--most", "1"))
    refused = installed.run(empty, "ecdd", "release", "--dry-run")
    assert (refused.returncode, "run `ecdd gates` first" in refused.stderr) == (2, True)


def test_every_clause_can_be_collected(installed: Installed, empty: Path) -> None:
    """What one clause imports and the wheel has not would end every run of all clauses."""
    said = _said(installed.run(empty, "ecdd", "gates", "--", "--collect-only", "-q"))
    files = {line.split("::")[0].rpartition("/")[2] for line in said.splitlines() if "::test_" in line}
    assert files == {Path(file).name for about in load_specification().values() for file in about.files}


def test_gates_without_a_browser_are_as_expected(g1: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = g1
    lines = _said(done).splitlines()
    assert any(re.match(r"not tested: E1\.1 .*no Chromium", line) for line in lines)
    end = [line for line in lines if line.startswith(("G1: INCOMPLETE", "report: ", "RELEASE REFUSED"))][-3:]
    assert [line.partition(":")[0].split()[0] for line in end] == ["G1", "report", "RELEASE"]
    (run,) = folder.glob("reports/runs/*")
    assert (run / "index.html").is_file()
    assert (run / "junit.xml").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["reports"]


def test_ci_requires_a_browser(installed: Installed, empty: Path) -> None:
    done = installed.run(empty, "ecdd", "gates", "E1.1", "--expected", str(EXPECTED), CI="true")
    assert "no Chromium" in _said(done, 1)


def test_records_are_those_of_the_checkout(g1: tuple[Path, Any], tmp_path: Path) -> None:
    here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "--report-dir", str(tmp_path)]
    clauses = ("gates/g1/test_e1_4_exif_orientation.py", "gates/g1/test_e1_9_normalisation.py")
    done = subprocess.run(
        [*here, *clauses], cwd=ROOT, env=clean_environment({}) | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    _said(done)
    (run,) = g1[0].glob("reports/runs/*")
    for key in ("E1.4", "E1.9"):
        one, other = (
            json.loads((folder / f"phase1_results/{key}.json").read_text("utf-8")) for folder in (run, tmp_path)
        )
        assert one == other


def test_evidence_is_read_again(installed: Installed, g1: tuple[Path, Any]) -> None:
    folder = g1[0]
    assert "RELEASE REFUSED" in _said(installed.run(folder, "ecdd", "release", "--dry-run"), 1)
    assert "index.html" in _said(installed.run(folder, "ecdd", "report"))
    (run,) = folder.glob("reports/runs/*")
    done = installed.run(folder, "ecdd", "judge", str(run))
    assert done.returncode in {0, 1}, done.stderr
    assert "E1.9" in done.stdout


def test_serve_answers(installed: Installed, empty: Path) -> None:
    command = [str(installed.programs / "ecdd"), "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=empty, env=clean_environment({}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as site:
        try:
            assert site.stdout is not None
            found = next(match for line in site.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with urllib.request.urlopen(f"{found[0]}/healthz", timeout=60) as answer:  # noqa: S310 - of this site
                assert answer.status == 200
        finally:
            site.terminate()


def test_a_new_project_runs_as_its_workflow_says(installed: Installed, empty: Path) -> None:
    _said(installed.run(empty, "ecdd", "init", "team"))
    team = empty / "team"
    workflow = yaml.safe_load((team / ".github/workflows/gates.yaml").read_text("utf-8"))
    steps = [step["run"].split() for step in workflow["jobs"]["gates"]["steps"] if "run" in step]
    assert [step[0] for step in steps] == ["pip", "ecdd", "ecdd", "pytest"]
    _said(installed.run(team, *steps[1]))
    assert "E1.9" in _said(installed.run(team, *steps[2], "E1.9"))  # one clause stands for all
    _said(installed.run(team, "python", "-m", *steps[3], "-p", "no:cacheprovider"))
    report = (team / "reports/gates/index.html").read_text("utf-8")
    assert "E100.1" in report
    assert "our pictures are judged" in report
    decision = _said(installed.run(team, "ecdd", "release", "--dry-run", "--records", "reports/gates"), 1)
    assert "edited" not in decision
    assert "E1.8 resize: claimed and not run" in decision
    assert "E1.9 normalisation: claimed and not run" not in decision, "its record supports the claim"
    again = installed.run(empty, "ecdd", "init", "team")
    assert again.returncode == 2
    assert "not empty" in again.stderr


FOREIGN = """
import pytest

def pytest_addoption(parser):
    for name in ("--bundle", "--contract", "--golden", "--data", "--report-dir", "--expected", "--as-of"):
        parser.addoption(name)

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    import sys
    loaded = sorted({"numpy", "PIL", "pydantic", "yaml"} & set(sys.modules))
    print("loaded:", loaded)
"""


def test_other_projects_do_not_notice_the_plugin(installed: Installed, empty: Path) -> None:
    (empty / "conftest.py").write_text(FOREIGN, encoding="utf-8")
    (empty / "test_own.py").write_text("def test_own(request):\n    assert request.config.getoption('--data') == 'x'\n")
    done = installed.run(
        empty, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--data", "x", "-s",
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_PLUGINS="ecdd.evidence.pytest_entry", PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    said = _said(done)
    assert "1 passed" in said
    assert "loaded: []" in said
    assert sorted(path.name for path in empty.iterdir()) == ["conftest.py", "test_own.py"]
