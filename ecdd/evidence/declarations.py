"""What is declared: the experiments with their tests, and the verdicts that the default bundle is expected to get."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecdd.errors import EcddError
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.session import DECLARED_FILE, declared_path
from ecdd.evidence.verdicts import only_metrics_are_red, red_metrics
from ecdd.files import read_yaml
from ecdd.specification import GATES

_VALUE_TOLERANCE: Final = 0.01  # as many digits as the entry's reader looks at; verdicts decide, not values


class DeclarationError(EcddError):
    """A declaration file is missing or wrong."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Declared(_Entry):
    """One experiment.

    Attributes
    ----------
    title, gate, clause : str
        From the specification.
    file : str
        Test file, relative to the project.
    tests : list of str
        Its test functions; more or fewer in a run is not the experiment that was declared.
    rules_file : str
        File of rules that it rests on, relative to the project; empty where it has none.
    rules : list of str
        Test functions of that file.
    """

    title: str
    gate: str
    clause: str
    file: str
    tests: Annotated[list[str], Field(min_length=1)]
    rules_file: str = ""
    rules: list[str] = []

    @property
    def files(self) -> tuple[str, ...]:
        """Clause file, and the file of its rules where there is one."""
        return (self.file, self.rules_file) if self.rules_file else (self.file,)

    @property
    def file_of(self) -> dict[str, str]:
        """File of every test of the experiment, its rules included."""
        return dict.fromkeys(self.tests, self.file) | dict.fromkeys(self.rules, self.rules_file)


class Expected(_Entry):
    """An expected verdict other than ``pass``, with what was measured and why it stays.

    Attributes
    ----------
    verdict : {"fail", "not_tested", "not_applicable", "pass"}
        What stands instead; ``pass`` only for an experiment that some machines cannot test.
    value : str
        What was measured, for a reader.
    reason : str
        What was tried, and what would have to change.
    metrics : mapping of str to float or None
        The metrics that are red and their values; exactly these may be. A value counts to one per cent; None stands
        for one that differs from run to run. Only for ``fail``.
    without : str
        Words of the reason for which it may be not tested on a machine, for example ``"no Chromium"``. Only for
        ``pass``; not tested for any other reason stays another verdict.
    asked_by : str
        Environment variable that makes it needed in CI, with the value ``true``; without one, CI always needs it.
    """

    verdict: Literal["fail", "not_tested", "not_applicable", "pass"]
    value: str
    reason: Annotated[str, Field(min_length=10)]
    metrics: dict[str, float | int | None] = {}
    without: str = ""
    asked_by: str = ""

    @property
    def is_needed_in_ci(self) -> bool:
        """Whether CI must be able to test it although other machines may lack what it needs."""
        return bool(self.without) and (not self.asked_by or os.environ.get(self.asked_by) == "true")

    @model_validator(mode="after")
    def _names_its_metrics(self) -> Expected:
        if (self.verdict == "fail") != bool(self.metrics):
            msg = "metrics: name the red metrics and their values for verdict fail, and none for another verdict"
            raise ValueError(msg)
        if (self.verdict == "pass") != bool(self.without):
            msg = "without: verdict pass needs what a machine may lack, and no other verdict has it"
            raise ValueError(msg)
        return self


def not_testable_here(record: ExperimentRecord, expected: Mapping[str, Expected]) -> bool:
    """Whether an experiment is not tested because the machine lacks what its entry names, and for no other reason."""
    entry = expected.get(record.id)
    return (
        record.verdict == "not_tested"
        and entry is not None
        and entry.verdict == "pass"
        and all(entry.without in missing.why for missing in record.not_tested)
    )


def _differing_metrics(record: ExperimentRecord, entry: Expected) -> list[str]:
    red = red_metrics(record)
    found = [f"{name} is red too" for name in sorted(set(red) - set(entry.metrics))]
    found += [f"{name} is not red any more" for name in sorted(set(entry.metrics) - set(red))]
    for name in sorted(set(red) & set(entry.metrics)):
        wanted, got = entry.metrics[name], red[name]
        if wanted is not None and (got is None or not math.isclose(got, wanted, rel_tol=_VALUE_TOLERANCE)):
            found.append(f"{name} = {'nothing finite' if got is None else f'{got:.6g}'}, expected {wanted:.6g}")
    return found


def difference(record: ExperimentRecord, expected: Mapping[str, Expected]) -> str:
    """How a record differs from what is expected of it, better or worse.

    Parameters
    ----------
    record : ExperimentRecord
        Judged.
    expected : mapping of str to Expected
        The entries; an experiment without one is expected to pass.

    Returns
    -------
    str
        Empty when it is as expected. An expected red must be red by the metrics that its entry names: a test that
        broke, was skipped or is gone is never expected.
    """
    entry = expected.get(record.id)
    wanted = entry.verdict if entry else "pass"
    if not_testable_here(record, expected):
        return ""
    if record.verdict != wanted:
        return f"{record.id} is {record.verdict}, expected {wanted}"
    if entry is None or entry.verdict != "fail":
        return ""
    if not only_metrics_are_red(record):
        return f"{record.id} is red because a test broke, was skipped or is gone; only a metric may be expected red"
    return "; ".join(f"{record.id}: {text}" for text in _differing_metrics(record, entry))


def _load(path: Path) -> dict[str, object]:
    if not path.is_file():
        msg = f"{path}: no such file"
        raise DeclarationError(msg)
    try:
        content = read_yaml(path) or {}
    except EcddError as error:
        raise DeclarationError(str(error)) from None
    if not isinstance(content, dict):
        msg = f"{path}: expected a mapping of experiment ids"
        raise DeclarationError(msg)
    return content


def load_declared(path: Path) -> dict[str, Declared]:
    """Load ``gates/declared.yaml``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to Declared
        By experiment id.

    Raises
    ------
    DeclarationError
        Missing, malformed or empty.
    """
    try:
        declared = {str(key): Declared.model_validate(value) for key, value in _load(path).items()}
    except ValueError as error:
        msg = f"{path}: {error}"
        raise DeclarationError(msg) from error
    if not declared:
        msg = f"{path}: declares no experiment; a run of nothing must not pass"
        raise DeclarationError(msg)
    return declared


@dataclass(frozen=True)
class Declarations:
    """The experiments of a run, and the files of each, absolute."""

    experiments: dict[str, Declared]
    files: dict[str, tuple[Path, ...]]


def load_specification() -> dict[str, Declared]:
    """Load the declarations of the specification in this package; those that a release goes by."""
    return load_declared(GATES / DECLARED_FILE)


def load_declarations(root: Path, *, specification: bool = False) -> Declarations:
    """Load the declarations that a run in a project goes by; its identity says which they were.

    Parameters
    ----------
    root : Path
        The project. Its ``gates/declared.yaml`` stands in place of the specification's where there is one, and then
        no release rests on the run; its ``clauses/declared.yaml`` adds experiments of its own.
    specification : bool
        Whatever the project declares, go by the specification's.

    Returns
    -------
    Declarations
        Both.

    Raises
    ------
    DeclarationError
        A file is wrong, or an own experiment has the id of one of the specification.
    """
    gates = GATES / DECLARED_FILE if specification else declared_path(root)
    experiments = load_declared(gates)
    files = _files(experiments, gates.parents[1])
    own = root / "clauses" / DECLARED_FILE
    if own.is_file():
        added = load_declared(own)
        if taken := sorted(set(added) & set(experiments)):
            msg = f"{own}: {', '.join(taken)} is in {gates}; number clauses of your own from E100.1 on"
            raise DeclarationError(msg)
        experiments |= added
        files |= _files(added, root)
    return Declarations(experiments, files)


def _files(experiments: Mapping[str, Declared], root: Path) -> dict[str, tuple[Path, ...]]:
    return {key: tuple(root / file for file in about.files) for key, about in experiments.items()}


def load_expected(path: Path, declared: dict[str, Declared]) -> dict[str, Expected]:
    """Load ``gates/expected_verdicts.yaml``; an experiment without an entry is expected to pass.

    Parameters
    ----------
    path : Path
        The file.
    declared : dict
        The experiments that exist.

    Returns
    -------
    dict of str to Expected
        By experiment id.

    Raises
    ------
    DeclarationError
        Missing, malformed, or an entry for an experiment that does not exist.
    """
    try:
        expected = {str(key): Expected.model_validate(value) for key, value in _load(path).items()}
    except ValueError as error:
        msg = f"{path}: {error}"
        raise DeclarationError(msg) from error
    unknown = sorted(set(expected) - set(declared))
    if unknown:
        msg = f"{path}: no such experiment: {', '.join(unknown)}; remove the entry"
        raise DeclarationError(msg)
    return expected
