"""``ecdd govern scan``: near-duplicates of a manifest, and whether any crosses a lineage boundary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ecdd.commands.terminal import AsJson, echo, progress, write_json

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # processes, not threads, share the work


def scan(
    *,
    data: Annotated[Path, typer.Option(help="Data manifest (path,label,scope,source,…), or its folder.")],
    out: Annotated[Path | None, typer.Option(help="CSV of groups; given to `ecdd govern split --groups`.")] = None,
    split: Annotated[
        Path | None, typer.Option(help="Split whose tags must not be crossed; the manifest's own where not given.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of hashes: a stopped scan goes on, the next reads them.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes, or Ray tasks at a time.")] = 1,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where pictures are hashed.")] = "local",
    contract: Annotated[
        Path | None, typer.Option(help="Policy contract; the default bundle's where not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find copies: turned, mirrored, re-encoded, resized, and in sets of up to 4000 pictures cropped.

    Exit code 1 where pairs cross two tags, each with both ends; 2 where files cannot be read, each by name. Then
    nothing is written.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.duplicate_groups import crossings, write_groups
    from ecdd.dataset_governance.leakage_scan import CROPS_UP_TO
    from ecdd.dataset_governance.leakage_scan import scan as scan_files
    from ecdd.dataset_governance.lineage_tags import load_split
    from ecdd.dataset_governance.manifest import load_manifest, manifest_path
    from ecdd.dataset_governance.picture_hashes import Work
    from ecdd.files import check_output

    policy = load_contract(contract).policy
    tags = {key: row.lineage.value for key, row in load_split(split).rows.items()} if split else {}
    rows = load_manifest(data)
    if out is not None:
        given = [path for path in (manifest_path(data), split, contract) if path is not None]
        check_output(out, [*given, *(row.path for row in rows)])
    files = [(row.sha256, row.path) for row in rows]
    with progress("hashing", len(files)) as bar:
        work = Work(jobs, engine, keep, bar.reach)
        found = scan_files(files, policy.pixel_pipeline, policy.dataset_governance, work)
    names = {row.sha256: row.name for row in rows}
    lineage = {row.sha256: tags.get(row.sha256) or (row.lineage.value if row.lineage else "") for row in rows}
    groups = len(set(found.groups.values()))
    wrong = crossings(found.pairs, lineage, names)
    if as_json:
        pairs = [{"first": names[p.first], "second": names[p.second], "bits": p.distance} for p in found.pairs]
        write_json({"pictures": len(rows), "groups": groups, "pairs": pairs, "crossings": wrong, "crops": found.crops})
    for pair in () if as_json else found.pairs:
        how = f"{pair.distance} bits, {pair.shared_points} points"
        echo(f"{names[pair.first]} = {names[pair.second]} ({how})")
    if not found.crops and not as_json:
        echo(f"crops were not looked for: {len(rows)} pictures, compared are at most {CROPS_UP_TO}")
    for line in wrong:
        echo(f"crosses a boundary: {line}", err=True)
    if not as_json:
        echo(f"{len(rows)} pictures in {groups} groups, {len(found.pairs)} pairs, {len(wrong)} across lineage")
    if wrong:
        raise typer.Exit(1)
    if out is not None:
        write_groups(out, rows, found)
