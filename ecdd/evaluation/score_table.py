"""Score tables: one row a picture and transform, with everything that a metric may need and nothing of the picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.errors import EcddError
from ecdd.files import open_output, parse_json

KEY: Final = b"ecdd"
FORMAT: Final = 1
SCORED, OUTCOMES = "scored", ("scored", "rejected", "error", "missing", "changed")
VERDICTS: Final = ("real", "fake", "abstain")

# column, kind
COLUMNS: Final[Mapping[str, str]] = {
    "index": "int32",
    "path": "string",
    "label": "int8",
    "scope": "string",
    "source": "string",
    "year": "int16",
    "platform": "string",
    "device": "string",
    "lineage": "string",
    "transform": "string",
    "outcome": "string",
    "verdict": "string",
    "probability": "float64",
    "logit": "float64",
    "reason_codes": "string",
    "detail": "string",
    "faces": "int16",
    "face_confidence": "float64",
    "face_side": "float64",
    "jpeg_quality": "float64",
    "blur": "float64",
    "container": "string",
    "file_sha256": "string",
    "payload_digest": "string",
    "contract_digest": "string",
}


class ScoreTableError(EcddError):
    """A table that must not be measured: damaged, incomplete, of other parts, or with scores that are no numbers."""


@dataclass(frozen=True)
class Plan:
    """What a table is of: the same plan gives the same rows.

    Attributes
    ----------
    payload_digest, contract_digest, manifest_digest, suite_digest : str
        Bundle, contract, selected rows of the manifest, transforms.
    transforms : tuple of str
        By name, in the order of a picture's rows.
    pictures : int
        Selected rows of the manifest.
    """

    payload_digest: str
    contract_digest: str
    manifest_digest: str
    suite_digest: str
    transforms: tuple[str, ...]
    pictures: int

    @property
    def n_expected(self) -> int:
        """Rows of the finished table."""
        return self.pictures * len(self.transforms)

    def text(self) -> str:
        """As JSON, in one form."""
        content = {"format": FORMAT, **vars(self), "transforms": list(self.transforms)}
        return json.dumps(content, sort_keys=True)


def plan_of(text: str, where: str) -> Plan:
    """Read what `Plan.text` wrote."""
    try:
        content = parse_json(text, where)
        known = content.pop("format") == FORMAT
        plan = Plan(**{**content, "transforms": tuple(content["transforms"])}) if known else None
    except (EcddError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{where}: does not say what it is of; score again"
        raise ScoreTableError(msg) from error
    if plan is None:
        msg = f"{where}: another format of score table, this program reads {FORMAT}"
        raise ScoreTableError(msg)
    return plan


@dataclass(frozen=True)
class ScoreTable:
    """A finished table, read and checked."""

    plan: Plan
    rows: tuple[dict[str, Any], ...]

    def of(self, transform: str) -> list[dict[str, Any]]:
        """Rows of one transform, in the order of the manifest."""
        return [row for row in self.rows if row["transform"] == transform]

    def why_not_of(self, payload_digest: str, contract_digest: str) -> str:
        """Why the table is no evidence for a bundle and a contract; empty when it is."""
        for what, own, asked in (
            ("bundle", self.plan.payload_digest, payload_digest),
            ("contract", self.plan.contract_digest, contract_digest),
        ):
            if own != asked:
                return f"the score table is of {what} {own[:12]}, this run judges {asked[:12]}"
        return ""


def write_table(path: Path, plan: Plan, batches: Iterable[list[dict[str, Any]]]) -> int:
    """Write a table, a batch of rows in memory at a time; the name appears when all is written.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    ScoreTableError
        Rows are missing or too many.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    schema = schema.with_metadata({KEY: plan.text().encode()})
    count = 0
    with open_output(path) as stream:
        with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
            for rows in batches:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                count += len(rows)
        if count != plan.n_expected:
            msg = f"{path.name}: {count} rows, expected {plan.n_expected}; no table was written"
            raise ScoreTableError(msg)
    return count


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet files do."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def read_table(path: Path) -> ScoreTable:
    """Read a table and check that it can be measured.

    Parameters
    ----------
    path : Path
        Parquet file written by `write_table`.

    Returns
    -------
    ScoreTable
        Every row of the plan exactly once.

    Raises
    ------
    ScoreTableError
        Not such a file; a row is missing, twice or of another plan; a score is not finite.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        msg = f"{path.name}: cannot be read as a score table ({type(error).__name__}); make it with ecdd score"
        raise ScoreTableError(msg) from error
    if table.schema.names != list(COLUMNS):
        msg = f"{path.name}: its columns are not those of a score table; make it with ecdd score"
        raise ScoreTableError(msg)
    plan = plan_of((table.schema.metadata or {}).get(KEY, b"").decode("utf-8", "replace"), path.name)
    rows = tuple(table.to_pylist())
    if problems := problems_of(plan, rows):
        raise ScoreTableError("\n".join(f"{path.name}: {text}" for text in problems))
    return ScoreTable(plan, rows)


def problems_of(plan: Plan, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say why rows are not the whole of a plan, or cannot be measured; at most one line a reason."""
    expected = {(i, name) for i in range(plan.pictures) for name in plan.transforms}
    found: set[tuple[int, str]] = set()
    problems: dict[str, str] = {}
    count = 0
    for row in rows:
        count += 1
        key = (row["index"], row["transform"])
        where = f"row {count} ({row['path']}, {row['transform']})"
        if key in found or key not in expected:
            problems.setdefault("key", f"{where} stands twice or is not of the plan")
        found.add(key)
        for name, text in _row_problems(plan, row):
            problems.setdefault(name, f"{where}: {text}")
    if count != plan.n_expected or found != expected:
        problems["count"] = f"{len(found & expected)} rows of the plan, expected {plan.n_expected}; rows are missing"
    return list(problems.values())


def _row_problems(plan: Plan, row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if row["outcome"] not in OUTCOMES or row["verdict"] not in VERDICTS:
        yield "outcome", f"outcome {row['outcome']!r}, verdict {row['verdict']!r} are unknown"
    if (row["payload_digest"], row["contract_digest"]) != (plan.payload_digest, plan.contract_digest):
        yield "digest", "scored with another bundle or contract than the table's"
    p, logit = row["probability"], row["logit"]
    if (p is None) != (logit is None):
        yield "pair", "has one of probability and logit"
    if p is not None and not (math.isfinite(p) and 0 <= p <= 1 and math.isfinite(logit)):
        yield "finite", f"probability {p}, logit {logit}: not finite or outside 0 to 1"
    if row["outcome"] != SCORED and (row["verdict"] != "abstain" or p is not None):
        yield "verdict", f"outcome {row['outcome']} has a verdict; only what was scored may have one"
    if row["verdict"] != "abstain" and p is None:
        yield "verdict", "a verdict without a probability"
