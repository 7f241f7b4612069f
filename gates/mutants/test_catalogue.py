"""No defect of the specification gets lost from the catalogue, and every row of it can be run."""

from __future__ import annotations

from pathlib import Path

from ecdd.evidence.declarations import load_declared
from gates.mutants.catalogue import MUTANTS
from gates.mutants.killing import control_files, controls_needed

ROOT = Path(__file__).resolve().parents[2]
DECLARED = load_declared(ROOT / "gates" / "declared.yaml")
LIST = Path(__file__).with_name("specified_mutants.txt")
SPECIFIED = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def missing(planted: list[str]) -> list[str]:
    """Specified defects that none of these names plants."""
    return [name for name in SPECIFIED if not any(one == name or one.startswith(f"{name}_") for one in planted)]


def test_every_specified_defect_is_planted() -> None:
    assert len(SPECIFIED) == len(set(SPECIFIED)) == 72
    assert missing(list(MUTANTS)) == []


def test_a_defect_that_is_lost_is_named() -> None:
    for name in SPECIFIED:
        left = [one for one in MUTANTS if one != name and not one.startswith(f"{name}_")]
        assert name in missing(left)


def test_a_mutant_names_a_declared_test_of_its_experiment() -> None:
    astray = []
    for name, mutant in MUTANTS.items():
        file, _, test = mutant.tests.partition("::")
        about = DECLARED[mutant.experiment]
        if (file, mutant.gate) != (about.file, about.gate) or (test and test.partition("[")[0] not in about.tests):
            astray.append(f"{name}: {mutant.tests} of {mutant.experiment}, {mutant.gate}")
    assert astray == []


def test_every_gate_has_mutants() -> None:
    assert {about.gate for about in DECLARED.values()} <= {mutant.gate for mutant in MUTANTS.values()}


def test_a_control_is_left_out_only_where_the_session_is_one() -> None:
    everything = [mutant.tests for mutant in MUTANTS.values()]
    lost = everything[0]
    file = lost.partition("::")[0]
    assert controls_needed([], ()) == set(control_files())
    assert controls_needed(everything, ()) == set()
    assert controls_needed([tests for tests in everything if tests != lost], ()) == {file}
    assert controls_needed(everything, {"E4.4"}) == {DECLARED["E4.4"].file}
