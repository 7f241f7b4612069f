"""``ecdd govern``: near-duplicates and lineage tags of a manifest of one's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.govern_scan import scan

app = typer.Typer(help="Lineage tags of a data set.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Lineage tags of a data set."""


app.command()(scan)


@app.command()
def split(
    *,
    data: Annotated[Path, typer.Option(help="Data manifest (path,label,scope,source,…), or its folder.")],
    out: Annotated[
        Path, typer.Option(help="CSV to write; given to `ecdd train --split` and `ecdd calibrate --split`.")
    ],
    base: Annotated[Path | None, typer.Option(help="Earlier split whose tags stand.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Source that becomes TEST-NEVER-TOUCH as a whole; may be repeated.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Groups written by `ecdd govern scan --out`; scanned anew where not given.")
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="Policy contract; the default bundle's where not given.")
    ] = None,
) -> None:
    """Tag every picture so that no near-duplicate, known person or held-out source crosses a boundary.

    Exit code 1, with every contradiction listed, where that cannot be.
    """
    from ecdd.contract.loading import ContractError
    from ecdd.dataset_governance.build_split import build_split
    from ecdd.dataset_governance.lineage_tags import LineageError, load_split
    from ecdd.dataset_governance.manifest import ManifestError
    from ecdd.dataset_governance.picture_hashes import UnreadableError

    try:
        earlier = None if base is None else load_split(base)
        written = build_split(data, out, contract, earlier, hold_out or (), groups)
    except (ContractError, LineageError, ManifestError, UnreadableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    counts = Counter((row.lineage.value, row.scope, row.label) for row in written.rows.values())
    names = {"0": "real", "1": "fake", "": "no label"}
    for (tag, scope, label), count in sorted(counts.items()):
        typer.echo(f"{tag}: {count} {scope}, {names[label]}")
    count = len({row.near_duplicate_group for row in written.rows.values()})
    typer.echo(f"{len(written.rows)} pictures in {count} groups, digest {written.digest}")
