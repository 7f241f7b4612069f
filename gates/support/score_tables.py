"""Score tables for G6 and phase 7: committed for the default bundle, a bundle's own, or made from ``--data``."""

from __future__ import annotations

import fcntl
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ecdd.bundle.loading import Bundle, default_bundle_path
from ecdd.bundle.manifest import RELEASE_FOLDER
from ecdd.contract.loading import LoadedContract
from ecdd.evaluation.manifest_stream import Selection
from ecdd.evaluation.score_table import ScoreTable, ScoreTableError, read_table
from ecdd.evaluation.scoring import Request, score
from ecdd.evidence.session import payload_digest_of
from ecdd.evidence.unmeasured import NotTested
from gates.support.portraits import split_of

COMMITTED = Path(__file__).resolve().parents[2] / "reports" / "default" / "scores"
HELD_OUT, EARLIER = "TEST-NEVER-TOUCH", "CALIBRATION"


@dataclass(frozen=True)
class FoundTables:
    """Tables of held-out and calibration pictures; ``why``: why there is none, ``refused``: why one was not used."""

    held_out: ScoreTable | None = None
    calibration: ScoreTable | None = None
    why: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Scores:
    """Tables of this very bundle and contract."""

    held_out: ScoreTable
    calibration: ScoreTable | None

    @property
    def by_name(self) -> dict[str, ScoreTable]:
        """Those that there are."""
        return {"held_out": self.held_out} | ({} if self.calibration is None else {"calibration": self.calibration})


@pytest.fixture(scope="session")
def scores(found_tables: FoundTables) -> Scores:
    """Without a table of this very bundle and contract nothing that needs it is tested."""
    if found_tables.held_out is None:
        raise NotTested("release battery of this bundle", found_tables.why)
    return Scores(found_tables.held_out, found_tables.calibration)


@pytest.fixture(scope="session")
def found_tables(
    request: pytest.FixtureRequest,
    bundle: Bundle,
    contract: LoadedContract,
    data_root: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> FoundTables:
    if data_root is None:
        return believed_scores(bundle, contract)
    base = tmp_path_factory.getbasetemp()
    return _scored(bundle, contract, data_root, base.parent if hasattr(request.config, "workerinput") else base)


def believed_scores(bundle: Bundle, contract: LoadedContract) -> FoundTables:
    """Stored tables that count where no picture is at hand: those that come with the specification alone."""
    found = stored_scores(bundle, contract)
    why = "" if found.held_out is None else unverified(bundle)
    return FoundTables(why=why) if why else found


def unverified(bundle: Bundle) -> str:
    """Why a stored table is nothing but the word of whoever made the bundle; empty for the specification's own."""
    if not (bundle.path / RELEASE_FOLDER / "scores.parquet").exists():
        return ""
    return f"unverified: pictures of {RELEASE_FOLDER}/scores.parquet are not at hand; give --data, which is scored anew"


def sampled(table: ScoreTable, most: int) -> list[dict[str, object]]:
    """Rows drawn from a table, seeded by its content, so that the same table gives the same rows."""
    content = hashlib.sha256(repr(table.rows).encode()).digest()
    drawn = np.random.default_rng(list(content)).permutation(len(table.rows))[:most]
    return [table.rows[index] for index in sorted(drawn)]


def scored_otherwise(rows: list[dict[str, object]], fresh: ScoreTable, tolerance: float) -> tuple[list[str], int]:
    """Rows of a stored table that the same pictures, scored now, do not give; and how many were compared."""
    now = {(row["file_sha256"], row["transform"]): row for row in fresh.rows}
    pairs = [(row, now[place]) for row in rows if (place := (row["file_sha256"], row["transform"])) in now]
    differing = [
        f"{one['path']} {one['transform']}: {one['verdict']} {one['probability']}, now {two['verdict']} "
        f"{two['probability']}"
        for one, two in pairs
        if any(one[name] != two[name] for name in ("outcome", "verdict", "label", "scope"))
        or abs((one["probability"] or 0.0) - (two["probability"] or 0.0)) > tolerance  # type: ignore[operator]
    ]
    return differing, len(pairs)


def stored_scores(bundle: Bundle, contract: LoadedContract) -> FoundTables:
    """Tables inside the bundle, or the committed ones where it is the default bundle or a copy of it."""
    folder, names = bundle.path / RELEASE_FOLDER, ("scores.parquet", "calibration_scores.parquet")
    default = bundle.path.resolve() == default_bundle_path().resolve()
    if not (folder / names[0]).exists() and (default or bundle.payload_digest == payload_digest_of(None)):
        folder, names = COMMITTED, ("test.parquet", "calibration.parquet")
    if not (folder / names[0]).exists():
        why = f"this bundle has no {RELEASE_FOLDER}/scores.parquet; give --data, or make it with ecdd score"
        return FoundTables(why=why)
    try:
        tables = [read_table(folder / name) if (folder / name).exists() else None for name in names]
    except ScoreTableError as error:
        return FoundTables(why=str(error), refused=str(error))
    for table in tables:
        if table is not None and (text := table.why_not_of(bundle.payload_digest, contract.digest)):
            return FoundTables(why=f"{text}; give --data, or score again", refused=text)
    return FoundTables(tables[0], tables[1])


def _scored(bundle: Bundle, contract: LoadedContract, data: Path, folder: Path) -> FoundTables:
    """Score ``--data`` once for all workers of a run; a tag that none of its pictures has gives no table."""
    from ecdd.dataset_governance.lineage_tags import load_split
    from ecdd.dataset_governance.manifest import load_manifest

    tags = {key: row.lineage.value for key, row in load_split(split_of(data)).rows.items()}
    given = {tags.get(row.sha256) for row in load_manifest(data)}
    if HELD_OUT not in given:
        return FoundTables(why=f"--data has no picture tagged {HELD_OUT}")
    tables: list[ScoreTable | None] = []
    with (folder / "g6.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for tag in (HELD_OUT, EARLIER):
            if tag not in given:
                tables.append(None)
                continue
            out = folder / f"g6-{tag}.parquet"
            if not out.exists():
                wanted = Selection(tags, frozenset({tag}))
                score(Request(data, bundle, contract, transforms=tag == HELD_OUT, selection=wanted), out, jobs=2)
            tables.append(read_table(out))
    return FoundTables(tables[0], tables[1])
