"""``ecdd score``: a labelled manifest into a score table, which the release battery reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ecdd.commands.terminal import AsJson, echo, progress, write_json
from ecdd.errors import EcddError

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers are forked, see `ecdd.commands.predict`


def score(
    manifest: Annotated[Path | None, typer.Argument(hidden=True)] = None,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled pictures: CSV with path,label,scope,source, or its folder. Needed.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Parquet file to write; it appears when all is scored.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes, or Ray actors.")] = 1,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where they run.")] = "local",
    transforms: Annotated[bool, typer.Option("--transforms", help="The whole transform suite too.")] = False,
    split: Annotated[Path | None, typer.Option(help="Split with lineage tags; needs --lineage.")] = None,
    lineage: Annotated[list[str] | None, typer.Option(help="Only rows with this tag; may be repeated.")] = None,
    as_json: AsJson = False,
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
    request = Request(_data(manifest, data), loaded, chosen, transforms, selection)
    with progress("scoring") as bar:
        plan = score_manifest(request, out, jobs=jobs, engine=engine, progress=bar.reach)
    counts = _counts(out)
    if as_json:
        write_json({"out": str(out), "rows": plan.n_expected, "outcomes": counts})
        return
    echo(f"{out}: {plan.n_expected} rows, {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")


def _data(manifest: Path | None, data: Path | None) -> Path:
    """The labelled pictures; named without an option as before version 0.2, or by ``--data``."""
    if manifest is not None and data is None:
        echo(
            "warning: ecdd score MANIFEST is now ecdd score --data MANIFEST; the old way goes with version 0.3",
            err=True,
        )
    if (manifest is None) == (data is None):
        given = "--data" if data is None else f"{manifest} and --data {data}"
        raise EcddError(f"{given}: name the labelled pictures once, with --data MANIFEST")
    chosen = data or manifest
    assert chosen is not None
    return chosen


def _selection(split: Path | None, lineage: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - lazily imported
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.evaluation.manifest_stream import Selection

    if split is None:
        return Selection()
    unknown = [tag for tag in lineage if tag not in LineageTag.__members__.values()]
    if unknown:
        raise typer.BadParameter(f"--lineage {unknown[0]}: allowed are {', '.join(LineageTag)}")
    return Selection({key: row.lineage.value for key, row in load_split(split).rows.items()}, frozenset(lineage))


def _counts(out: Path) -> dict[str, int]:
    import pyarrow.parquet as parquet  # noqa: PLR0402 - its stubs name no submodule

    counts = parquet.read_table(out, columns=["outcome"]).column("outcome").value_counts().to_pylist()
    return {str(entry["values"]): entry["counts"] for entry in sorted(counts, key=lambda e: str(e["values"]))}
