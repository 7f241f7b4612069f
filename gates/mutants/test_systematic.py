"""The mutation campaign: places, samples, planting and rates."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from gates.mutants.systematic import planting, sites, table
from gates.mutants.systematic.campaign import _failed, by_file, runs
from gates.mutants.systematic.coverage_map import Seen
from gates.mutants.systematic.near_lines import closeness, lines_around
from gates.mutants.systematic.sites import Site
from gates.mutants.systematic.table import Result, Verdict

SOURCE = '''"""Doc 1."""
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Limit:
    value: float


def above(score: float | int, limit: float = 3) -> bool | None:
    return score >= limit
'''


@pytest.fixture
def made_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sites, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "ecdd" / "pipeline" / "made_above.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_mutants_change_numbers_and_comparisons_but_nothing_that_only_types_read(made_module: Path) -> None:
    found = sites.sites(made_module)
    assert {site.operator for site in found} == {
        "NumberReplacer", "ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_GtE_Lt",
    }  # fmt: skip
    assert {site.line for site in found} == {15, 16}
    for site in found:
        pairs = zip(SOURCE.splitlines(), sites.mutated(site).splitlines(), strict=True)
        assert [number for number, (old, new) in enumerate(pairs, 1) if old != new] == [site.line]


def test_what_people_read_and_what_nobody_does_is_left_out(made_module: Path) -> None:
    made_module.write_text('f"{x[:16]}"\nzip(a, b, strict=True)\nparse(strict=True)\n', encoding="utf-8")
    assert {(site.line, site.operator) for site in sites.sites(made_module)} == {(3, "ReplaceTrueWithFalse")}


def test_a_change_elsewhere_draws_no_other_mutants(made_module: Path) -> None:
    before = [(site.operator, site.line) for site in sites.sample(2, 7, ["pipeline"])]
    made_module.write_text(SOURCE.replace("import annotations", "import annotations\nimport os"), encoding="utf-8")
    assert [(site.operator, site.line - 1) for site in sites.sample(2, 7, ["pipeline"])] == before


def test_an_exception_of_a_module_is_no_place(made_module: Path) -> None:
    made_module.write_text("import csv\ntry:\n    x = 1\nexcept (csv.Error, OSError):\n    x = 2\n", encoding="utf-8")
    found = [site for site in sites.sites(made_module) if site.operator == "ExceptionReplacer"]
    assert len(found) == 1
    assert "csv.Error, CosmicRay" in sites.mutated(found[0])


def test_a_place_that_is_gone_is_refused(made_module: Path) -> None:
    site = sites.sites(made_module)[0]
    made_module.write_text("x = True\n", encoding="utf-8")
    with pytest.raises(LookupError, match="draw the sample anew"):
        sites.mutated(site)


def test_a_sample_repeats_and_a_longer_one_begins_with_it() -> None:
    short, long = (sites.sample(count, 7, ["inference", "bundle"]) for count in (20, 60))
    assert long[:20] == short
    assert {site.package for site in short} == {"inference", "bundle"}
    assert len({(site.path, site.line) for site in short}) == 20


def test_boundaries_are_every_comparison_that_equality_decides(made_module: Path) -> None:
    assert [(site.line, site.operator) for site in sites.boundaries(["pipeline"])] == [
        (16, "ReplaceComparisonOperator_GtE_Gt")
    ]


def test_a_planted_module_runs_the_mutant_and_its_file_is_kept(
    made_module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site("ecdd/pipeline/made_above.py", 16, "ReplaceComparisonOperator_GtE_Gt", 0)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    planting.install("made_above", str(made_module), sites.mutated(site))
    module = importlib.import_module("made_above")
    try:
        assert module.above(3.0) is False
        assert made_module.read_text(encoding="utf-8") == SOURCE
        with pytest.raises(RuntimeError, match="imported before"):
            planting.install("made_above", str(made_module), SOURCE)
    finally:
        del sys.modules["made_above"]


def _result(verdict: Verdict, package: str, number: int) -> Result:
    name = f"ecdd/{package}/x.py:AddNot:{number}"
    return Result(name=name, line=1, package=package, operator="AddNot", verdict=verdict, said="", seconds=1.0)


def test_the_bar_of_a_deciding_part_asks_for_experiments_too() -> None:
    verdicts: list[Verdict] = ["experiment"] * 69 + ["test"] * 30 + ["survived"]
    judged = [_result(verdict, package, i) for package in ("release", "parity") for i, verdict in enumerate(verdicts)]
    judged.append(_result("no_program", "release", 100))
    parity, release = table.rates(judged)
    assert (parity.package, parity.killed_share, parity.met) == ("parity", 0.99, True)
    assert (release.mutants, release.experiment_share, release.met) == (100, 0.69, False)


def test_each_part_of_the_committed_table_that_misses_its_bar_says_why() -> None:
    document = json.loads((sites.ROOT / "reports" / "default" / "mutation.json").read_text(encoding="utf-8"))
    missed = {row["package"] for row in document["rates"] if not row["met"]}
    assert missed == table.reasons().keys()


def test_the_table_names_no_folder_of_a_machine() -> None:
    said = (
        "gates/a.py::test_b: E   Error: /home/me/x.y/ecdd/default: ['/opt/bin/python'] sqlite:////tmp/a/b.db took 1/2 s"
    )
    assert table.without_folders(said) == "gates/a.py::test_b: E   Error: default: ['python'] sqlite:b.db took 1/2 s"
    committed = (sites.ROOT / "reports" / "default" / "mutation.json").read_text(encoding="utf-8")
    assert table.without_folders(committed) == committed


def test_an_argued_mutant_counts_again_when_its_line_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "equivalent.json"
    file.write_text('{"ecdd/errors.py:AddNot:0": {"code": "no such line", "why": "argued"}}', encoding="utf-8")
    monkeypatch.setattr(table, "EQUIVALENT", file)
    assert table.equivalent() == {}


def test_a_line_cut_off_while_written_is_run_again(tmp_path: Path) -> None:
    whole = _result("test", "bundle", 0).model_dump_json()
    file = tmp_path / "results.jsonl"
    file.write_text(f"{whole}\n{whole[:-20]}", encoding="utf-8")
    assert [one.verdict for one in table.read_results(file)] == ["test"]


def test_runs_begin_short_keep_kinds_apart_and_end_at_the_budget() -> None:
    experiments = [Seen((f"a::e{k}",), seconds, True) for k, seconds in enumerate((1.0, 1.0, 4.0, 9.0, 100.0))]
    found = runs([*experiments, Seen(("u0",), 60.0, False), Seen(("u1",), 61.0, False)], budget=45.0)
    assert [one.tests for one in found] == [("a::e0", "a::e1"), ("a::e2",), ("a::e3",), ("u0",)]
    assert [one.experiment for one in found] == [True, True, True, False]


def test_each_further_file_costs_its_beginning() -> None:
    """A hundred short tests of one file fit where those of a hundred files do not."""
    one = [Seen((f"a::u{k}",), 0.0, False) for k in range(100)]
    other = [Seen((f"f{k}::u",), 0.0, False) for k in range(100)]
    assert sum(len(run.tests) for run in runs(one, budget=4.0)) == 100
    assert sum(len(run.tests) for run in runs(other, budget=4.0)) == 5


def test_a_test_beyond_the_budget_leaves_room_for_shorter_ones() -> None:
    tests = [Seen((f"a::u{k}",), seconds, False) for k, seconds in enumerate((1.0, 50.0, 1.0))]
    assert [test for run in runs(tests, budget=4.0) for test in run.tests] == ["a::u0", "a::u2"]


AROUND = """LIMIT = 4
OTHER = 5


def read(size):
    if size > LIMIT:
        raise ValueError(size)
    return size


def unread(size):
    return size > OTHER
"""


def test_lines_around_a_constant_are_those_of_the_functions_that_name_it() -> None:
    assert lines_around(AROUND, 1) == frozenset(range(5, 9))
    assert lines_around(AROUND, 7) == frozenset(range(5, 9))
    assert lines_around(AROUND, 12) == lines_around(AROUND, 2) == frozenset((11, 12))
    assert lines_around(AROUND, 3) == frozenset()


def test_the_test_of_a_limit_is_closer_than_those_that_keep_it() -> None:
    """Two test files; one test of the second goes beyond the limit."""
    files = [
        {6: {"a::1", "a::2"}, 8: {"a::1", "a::2"}},
        {6: {"b::within", "b::beyond"}, 8: {"b::within"}, 7: {"b::beyond"}},
    ]
    close = closeness(files, lines_around(AROUND, 1))
    assert max(close, key=close.__getitem__) == "b::beyond"
    assert close["b::within"] == close["a::1"]
    assert close["elsewhere"] < close["a::1"]


def test_the_test_that_failed_is_named_with_its_spaces() -> None:
    assert _failed("FAILED gates/a.py::test_b[edited record] - assert 1 == 2") == "gates/a.py::test_b[edited record]"
    assert _failed("ERROR gates/a.py::test_c") == "gates/a.py::test_c"
    assert _failed("E   AssertionError") == ""


def test_tests_of_one_file_stand_together() -> None:
    assert by_file(("b::1", "a::2", "b::0", "a::1")) == ("b::1", "b::0", "a::2", "a::1")


def test_kills_of_an_unchanged_module_are_taken_over_and_survivors_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "ROOT", tmp_path)
    monkeypatch.setattr(table, "equivalent", dict)
    module = tmp_path / "ecdd" / "bundle" / "x.py"
    module.parent.mkdir(parents=True)
    module.write_text("x = 1\n", encoding="utf-8")
    killed, survived = _result("test", "bundle", 0), _result("survived", "bundle", 1)
    out = tmp_path / "mutation.json"
    assert table.earlier_kills(out) == []
    table.write_table(out, [killed, survived], drawn=2, seed=1)
    assert [one.name for one in table.earlier_kills(out)] == [killed.name]
    module.write_text("x = 2\n", encoding="utf-8")
    assert table.earlier_kills(out) == []
