"""Evidence records: what an experiment measured, what it was held to, and what follows."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Operator = Literal["<=", "<", ">=", ">", "=="]
Result = Literal["pass", "fail"]
Outcome = Literal["passed", "failed", "skipped"]
Verdict = Literal["pass", "fail", "incomplete", "not_tested", "not_applicable"]
Scalar = float | int | bool | str | None


class Stored(BaseModel):
    """Base of everything that a run stores: no unknown key, no change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(Stored):
    """One measured number and the threshold that it was held to.

    Attributes
    ----------
    name, test : str
        The metric, and the test function that measured it.
    value, limit : float, int or None
        None stands for NaN, infinite or missing, and fails.
    op : str
        ``value op limit`` must hold.
    worst : tuple of str
        Worst samples by name.
    mean : float or None
        Mean over the samples, where it says more.
    n : int or None
        How many samples; 0 fails.
    """

    name: str
    test: str
    value: float | int | None
    op: Operator
    limit: float | int | None
    unit: str = ""
    worst: tuple[str, ...] = ()
    mean: float | None = None
    n: int | None = None
    clause: str = ""
    verdict: Result


class Measurement(Stored):
    """A number without a threshold."""

    name: str
    test: str
    value: Scalar
    unit: str = ""


class Table(Stored):
    """Rows for a reader; ``columns`` is their order, since a record's text sorts its keys.

    Records of before have none: words are then shown before numbers.
    """

    name: str
    test: str
    rows: tuple[dict[str, Scalar], ...]
    columns: tuple[str, ...] = ()

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """The columns as a reader wants them."""
        first = self.rows[0] if self.rows else {}
        return self.columns or tuple(sorted(first, key=lambda key: not isinstance(first[key], str)))

    @model_serializer(mode="wrap")
    def _without_no_columns(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = plain(self)
        if not content["columns"]:
            del content["columns"]
        return content


class Figure(Stored):
    """A picture beside the record; ``file`` is relative to the run's folder."""

    name: str
    test: str
    file: str
    caption: str
    sha256: str


class Absent(Stored):
    """Something that could not be measured in this run."""

    what: str
    why: str


class RuledOut(Stored):
    """Something that a model under this contract cannot have; ``knob`` is the key of the contract that says so."""

    what: str
    knob: str


class _RuledOut(Stored):
    """What a contract rules out; left out of the JSON where it rules out nothing, as records before it were."""

    not_applicable: tuple[RuledOut, ...] = ()

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = plain(self)
        if not content["not_applicable"]:
            del content["not_applicable"]
        return content


class Fragment(_RuledOut):
    """What one test contributes to its experiment's record."""

    experiment: str
    test: str
    nodeid: str
    outcome: Outcome
    failure: str = ""
    metrics: tuple[Metric, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    not_tested: tuple[Absent, ...] = ()


class TestCounts(Stored):
    """Declared, collected, passed, failed and skipped test functions, and which are missing or undeclared."""

    __test__ = False  # not a pytest class

    declared: int
    collected: int
    passed: int
    failed: int
    skipped: int
    missing: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()


class RunIdentity(Stored):
    """What a run's numbers belong to.

    Attributes
    ----------
    contract_digest, preprocessing_digest, payload_digest : str
        Of the contract that was judged by, and of the bundle.
    golden_digest, stages_digest : str
        Of the golden set's manifest, and of its frozen stages.
    data_digest : str or None
        Of the manifest of labelled pictures.
    declared_digest, gates_digest : str
        Of ``declared.yaml``, and of the code of clauses and package.
    versions : dict of str to str
        Libraries and processor features that can change a result.
    as_of : str
        Day at which ages and expiries were judged.
    """

    contract_digest: str
    preprocessing_digest: str
    payload_digest: str
    golden_digest: str
    stages_digest: str
    data_digest: str | None
    declared_digest: str
    gates_digest: str
    versions: dict[str, str]
    as_of: str


class ExperimentRecord(_RuledOut):
    """The JSON that an experiment writes: what it measured, the limits it was held to, and the verdict."""

    schema_version: Literal[2] = 2
    id: str
    title: str
    gate: str
    clause: str
    identity: RunIdentity
    tests: TestCounts
    failures: tuple[str, ...]
    metrics: tuple[Metric, ...]
    measurements: tuple[Measurement, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    not_tested: tuple[Absent, ...]
    complete_selection: bool
    verdict: Verdict


def record_text(record: ExperimentRecord) -> str:
    """The record's one exact text: JSON, two spaces, sorted keys."""
    content: dict[str, Any] = record.model_dump(mode="json")
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def record_digest(record: ExperimentRecord) -> str:
    """SHA-256 of the record's text."""
    return hashlib.sha256(record_text(record).encode()).hexdigest()
