"""Nothing of the specification is without a test, and no test of an experiment without a clause."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from ecdd.contract.describing import knob_fields
from ecdd.contract.loading import load_contract
from ecdd.evidence import declare
from ecdd.evidence.clause_files import Check, Clause, read_clauses
from ecdd.evidence.declarations import DeclarationError, Declared, load_declared
from gates.support import spec_binding
from gates.support.spec_binding import GATES, OF_THE_FILE, ROOT

DECLARED = load_declared(GATES / "declared.yaml")
SET_BY = {key: knob.set_by for key, knob in knob_fields().items()}
FILES = spec_binding.experiment_files()


def test_an_experiment_of_the_specification_has_tests() -> None:
    """One that disappears with its file is missed here, and by the contract that claims it."""
    assert len(DECLARED) == 51
    assert {ROOT / file: key for key, about in DECLARED.items() for file in about.files} == FILES


def test_no_experiment_is_made_up() -> None:
    contract = load_contract(ROOT / "contracts" / "policy_contract.yaml")
    assert set(contract.policy.release.claims) <= set(DECLARED)


def test_declarations_are_those_of_the_files() -> None:
    for path, text in declare.texts(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m ecdd.evidence.declare"


def test_a_clause_of_the_contract_has_an_experiment_with_tests() -> None:
    assert spec_binding.knobs_without_experiment(SET_BY, DECLARED) == []


def test_tests_have_to_do_with_the_clause() -> None:
    """Named by tests, read by code that they run, or of one allowed value; never a number that nobody looks at."""
    assert [key for key, bond in spec_binding.bonds(SET_BY, DECLARED).items() if bond == "UNBOUND"] == []


def test_most_clauses_are_named_by_tests() -> None:
    """The weaker bonds stay the exception; versions of the file's own form are the only knobs without experiment."""
    found = Counter(spec_binding.bonds(SET_BY, DECLARED).values())
    assert found["NAMED"] + found["ELSEWHERE"] > 2 * (found["THROUGH"] + found["ONLY"])
    assert sorted(key for key, by in SET_BY.items() if by == OF_THE_FILE) == ["contract_version", "schema_version"]


def test_every_test_of_an_experiment_is_bound_to_it() -> None:
    assert [text for file, key in FILES.items() for text in spec_binding.misplaced_tests(file, key, DECLARED)] == []


def test_no_citation_leads_out_of_the_repository() -> None:
    """Clauses are cited by id; summaries of contract sections stand in the contracts of released bundles: frozen."""
    outside = re.compile(r"\bspec (?:§ ?)?\d|\bspec, phase|\b(?:spec|design|structure|mutants|plan)\.md\b|\bissue \d")
    files = [path for top in ("ecdd", "gates") for path in sorted((ROOT / top).rglob("*.py"))]
    frozen = {*(ROOT / "ecdd" / "contract").iterdir(), ROOT / "gates/support/spec_binding.py", Path(__file__)}
    said = [path for path in files if path not in frozen and outside.search(path.read_text(encoding="utf-8"))]
    assert len(files) > 500
    assert said == []


def test_every_file_of_tests_says_what_it_proves() -> None:
    """Files that are no experiment's support the gate whose folder they lie in; none is named like an experiment's."""
    files = sorted(GATES.rglob("test_*.py"))
    silent = [path.name for path in files if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []
    assert [path.name for path in files if re.match(r"test_e\d", path.name) and path not in FILES] == []


# what the checks above must be able to say


CLAUSE = """'''E1.8 resize: S3 equals golden.

It matters.
'''
@pytest.mark.experiment("E1.8")
def test_a(evidence, policy):
    limits = policy.quality_gates
    evidence.check(f"{mode}.s3", 1, limit=limits.max_reversals, op="<", unit="level")
    evidence.none("missing", [], n=3)
"""


def _clauses(root: Path, **files: str) -> dict[str, Clause]:
    for name, text in files.items():
        path = root / "gates" / "g1" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_clauses(root)


def test_a_clause_file_says_what_it_demands(tmp_path: Path) -> None:
    clause = _clauses(tmp_path, test_e1_8_resize=CLAUSE)["E1.8"]
    about = clause.declared
    assert (about.title, about.gate, about.clause, about.tests) == ("resize", "G1", "S3 equals golden.", ["test_a"])
    assert clause.checks == (
        Check("{mode}.s3", "<", "quality_gates.max_reversals", "level"),
        Check("missing", "==", "0", "picture"),
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no clause file"),
        ({"test_e1_8_resize": CLAUSE.replace("E1.8 resize:", "Resize,")}, "must begin 'E1.8 <title>: <clause>'"),
        ({"test_e1_8_resize": CLAUSE.replace("E1.8", "E1.9")}, "must begin 'E1.8"),
        ({"test_e1_8_resize": CLAUSE.replace("It matters.", "")}, "second paragraph"),
        ({"test_e1_8_resize": CLAUSE.replace("@pytest", "# @pytest")}, "no test carries"),
        ({"test_e1_8_resize": CLAUSE, "test_e1_8_again": CLAUSE}, "E1.8 is gates/g1/test_e1_8_again.py already"),
    ],
)
def test_a_malformed_clause_file_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(said)):
        _clauses(tmp_path, **files)


def test_a_clause_without_experiment_is_found() -> None:
    without = {key: about for key, about in DECLARED.items() if key != "E4.4"}
    assert spec_binding.knobs_without_experiment(SET_BY | {"new.knob": "E9.9"}, without)[-1].startswith("new.knob")
    assert any("operating_point.max_fpr" in text for text in spec_binding.knobs_without_experiment(SET_BY, without))


def test_a_knob_that_nobody_reads_is_unbound() -> None:
    knob = knob_fields()["operating_point.max_fpr"]
    unread = type(knob)(**{**vars(knob), "key": "operating_point.unread", "name": "read_by_no_line_of_code"})
    assert spec_binding.bond(unread, ROOT / DECLARED["E4.4"].file) == "UNBOUND"
    assert spec_binding.bond(knob, ROOT / DECLARED["E4.4"].file) == "NAMED"


MARKED = '@pytest.mark.experiment("E1.8")\ndef test_a(evidence): ...\n\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("def test_b(evidence): ...\n", "test_b carries no marker"),
        (MARKED.replace("E1.8", "E1.9").replace("test_a", "test_b"), "test_b carries ['E1.9'], not E1.8"),
        (MARKED.replace("test_a", "test_new"), "test_new is not declared"),
    ],
)
def test_a_test_out_of_place_is_found(tmp_path: Path, more: str, said: str) -> None:
    file = tmp_path / "gates" / "test_e1_8_resize.py"
    file.parent.mkdir()
    file.write_text(MARKED + more)
    about = Declared(title="t", gate="G1", clause="c", file="gates/test_e1_8_resize.py", tests=["test_a"])
    found = spec_binding.misplaced_tests(file, "E1.8", {"E1.8": about}, tmp_path)
    assert len(found) == 1
    assert said in found[0]
    assert "not declared with this file" in spec_binding.misplaced_tests(file, "E1.8", {}, tmp_path)[0]
