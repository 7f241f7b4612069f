"""What is declared: the experiments with their tests, and the verdicts that the default bundle is expected to get."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ecdd.evidence.records import Verdict


class DeclarationError(Exception):
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
    """

    title: str
    gate: str
    clause: str
    file: str
    tests: Annotated[list[str], Field(min_length=1)]


class Expected(_Entry):
    """An expected verdict other than ``pass``, with what was measured and why it stays."""

    verdict: Literal["fail", "not_tested"]
    value: str
    reason: Annotated[str, Field(min_length=10)]


def _load(path: Path) -> dict[str, object]:
    if not path.is_file():
        msg = f"{path}: no such file"
        raise DeclarationError(msg)
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
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


def expected_verdict(experiment: str, expected: dict[str, Expected]) -> Verdict:
    """The verdict that an experiment is expected to get."""
    entry = expected.get(experiment)
    return entry.verdict if entry else "pass"
