"""What runs no test of an experiment leaves an earlier run's folder as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecdd.evidence.edits import find_edits
from gates.units.evidence.conftest import Project

pytest_plugins = ["pytester"]

WITHOUT_A_RUN = {
    "collect_only": ("gates", "--collect-only"),
    "help": ("--help",),
    "fixtures": ("--fixtures",),
    "no_such_file": ("gates/test_none.py",),
    "no_such_option": ("gates", "--no-such-option"),
    "no_such_bundle": ("gates", "--bundle=nowhere"),
    "does_not_import": ("gates",),
    "unit_tests_alone": ("gates/test_unit.py",),
}


def _content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "workers"), [(name, 0) for name in WITHOUT_A_RUN] + [("no_such_file", 2)])
def test_a_folder_of_evidence_stays_as_it_is(project: Project, name: str, workers: int) -> None:
    assert project.run("gates", "--report-dir=kept").ret == 0
    folder = project.root / "kept"
    before = _content(folder)
    assert find_edits(folder) == []
    assert str(folder / "junit.xml") in before
    if name == "does_not_import":
        project.write("gates/test_1.py", "import no_such_module\n")
    if name == "unit_tests_alone":
        project.write("gates/test_unit.py", "def test_it():\n    assert 1 < 2\n")
    project.run(*WITHOUT_A_RUN[name], "--report-dir=kept", workers=workers)
    assert _content(folder) == before
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["phase1_results", "phase2_results"]
    assert not (project.root / "reports").exists()


def test_a_start_that_fails_leaves_no_folder(project: Project) -> None:
    assert project.run("gates/test_none.py", "--report-dir=new").ret != 0
    assert not (project.root / "new").exists()
