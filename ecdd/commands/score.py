"""``ecdd score``: a labelled manifest into a score table, which the release battery reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ecdd.commands.terminal import echo

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers are forked, see `ecdd.commands.predict`


def score(
    manifest: Annotated[Path, typer.Argument(help="CSV with path,label,scope,source, or its folder.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write; it appears when all is scored.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes, or Ray actors.")] = 1,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where they run.")] = "local",
    *,
    transforms: Annotated[bool, typer.Option("--transforms", help="The whole transform suite too.")] = False,
    split: Annotated[Path | None, typer.Option(help="Split with lineage tags; needs --lineage.")] = None,
    lineage: Annotated[list[str] | None, typer.Option(help="Only rows with this tag; may be repeated.")] = None,
) -> None:
    """Score pictures into a table. A run that was stopped goes on where it was.

    Missing, changed and broken files are rows with their own outcome. Exit code 2 for a manifest or shards that cannot
    be used.
    """
    from ecdd.bundle import load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.evaluation.scoring import Request
    from ecdd.evaluation.scoring import score as score_manifest

    if (split is None) != (not lineage):
        raise typer.BadParameter("--split and --lineage belong together")
    loaded = load_bundle(bundle)
    chosen = None if contract is None else load_contract(contract)
    selection = _selection(split, lineage or [])
    request = Request(manifest, loaded, chosen, transforms, selection)
    plan = score_manifest(request, out, jobs=jobs, engine=engine, progress=_say)
    echo(f"{out}: {plan.n_expected} rows, {_counts(out)}")


def _selection(split: Path | None, lineage: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - lazily imported
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.evaluation.manifest_stream import Selection

    if split is None:
        return Selection()
    unknown = [tag for tag in lineage if tag not in LineageTag.__members__.values()]
    if unknown:
        raise typer.BadParameter(f"--lineage {unknown[0]}: allowed are {', '.join(LineageTag)}")
    return Selection({key: row.lineage.value for key, row in load_split(split).rows.items()}, frozenset(lineage))


def _say(done: int, expected: int) -> None:
    echo(f"{done} of {expected}", err=True)


def _counts(out: Path) -> str:
    import pyarrow.parquet as parquet  # noqa: PLR0402 - its stubs name no submodule

    counts = parquet.read_table(out, columns=["outcome"]).column("outcome").value_counts().to_pylist()
    return ", ".join(f"{entry['counts']} {entry['values']}" for entry in sorted(counts, key=lambda e: str(e["values"])))
