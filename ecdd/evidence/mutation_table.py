"""The stored result of ``ecdd mutants``, and whether it may be shown for a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ecdd.files import write_output

MUTANTS_FILE: Final = "mutants.json"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MutantRow(_Stored):
    """What became of one planted defect, or of a control run without any.

    Attributes
    ----------
    name : str
        Mutant, or the file of a control run.
    gate, experiment, metric : str
        What had to go red; ``metric`` is ``control`` for a control run.
    killed : bool
        Red in that metric; for a control: green.
    reason : str
        The metric with value and limit, or what went wrong.
    record : str
        Evidence record of the run.
    seconds : float
        Wall clock.
    """

    name: str
    gate: str
    experiment: str
    metric: str
    killed: bool
    reason: str
    record: str
    seconds: float


class MutationTable(_Stored):
    """All mutants of one run, and the bundle that they were planted into.

    Attributes
    ----------
    gate : str or None
        The only gate that was asked for; None for all.
    seconds : float
        Wall clock of the run.
    """

    schema_version: Literal[1] = 1
    payload_digest: str
    contract_digest: str
    gate: str | None
    seconds: float
    mutants: tuple[MutantRow, ...]
    controls: tuple[MutantRow, ...]

    @property
    def killed(self) -> int:
        """How many mutants were killed."""
        return sum(row.killed for row in self.mutants)

    @property
    def green(self) -> int:
        """How many controls stayed green."""
        return sum(row.killed for row in self.controls)

    @property
    def complete(self) -> bool:
        """Whether it proves that every gate can fail: all gates asked for, all mutants killed, all controls green."""
        counts = (self.killed, self.green)
        return self.gate is None and bool(self.mutants) and counts == (len(self.mutants), len(self.controls))


def write_mutants(path: Path, table: MutationTable) -> None:
    """Write a table as JSON, atomically."""
    write_output(path, (table.model_dump_json(indent=1) + "\n").encode())


def read_mutants(folder: Path, payload_digest: str, contract_digest: str) -> tuple[MutationTable | None, str]:
    """The table of a run's folder, where it is of the same bundle and contract.

    Parameters
    ----------
    folder : Path
        The run's folder, with ``mutants.json``.
    payload_digest, contract_digest : str
        What the run judged.

    Returns
    -------
    table : MutationTable or None
        None where there is none to show.
    why : str
        Why there is none; empty with a table.
    """
    path = folder / MUTANTS_FILE
    if not path.is_file():
        return None, f"not run for this bundle: no {MUTANTS_FILE} beside the records"
    try:
        table = MutationTable.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        what = f"{error.error_count()} wrong values" if isinstance(error, ValidationError) else str(error.strerror)
        return None, f"not run for this bundle: {MUTANTS_FILE} cannot be used ({what}); run ecdd mutants again"
    for name, theirs, ours in (
        ("payload", table.payload_digest, payload_digest),
        ("contract", table.contract_digest, contract_digest),
    ):
        if theirs != ours:
            return None, f"not run for this bundle: {MUTANTS_FILE} is of {name} {theirs[:16]}, this run of {ours[:16]}"
    return table, ""
