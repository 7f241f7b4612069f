"""``ecdd govern``: near-duplicates and lineage tags of a data set, their history, and manual review."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.govern_lineage import check, say_heads, tag
from ecdd.commands.govern_review import app as review
from ecdd.commands.govern_scan import scan
from ecdd.commands.terminal import AsJson, echo, write_json

app = typer.Typer(
    help="Near-duplicates and lineage of a data set, and manual review.", no_args_is_help=True, add_completion=False
)
app.command()(scan)
app.command()(check)
app.command()(tag)
app.add_typer(review, name="review")


@app.callback()
def _group() -> None:
    """Near-duplicates and lineage of a data set, and manual review."""


@app.command()
def split(
    *,
    data: Annotated[
        list[Path], typer.Option(help="Data manifest (path,label,scope,source,…), or its folder; may be repeated.")
    ],
    out: Annotated[
        Path, typer.Option(help="CSV to write; given to `ecdd train --split` and `ecdd calibrate --split`.")
    ],
    base: Annotated[Path | None, typer.Option(help="Earlier split whose tags stand.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Source that becomes TEST-NEVER-TOUCH as a whole; may be repeated.")
    ] = None,
    groups: Annotated[
        list[Path] | None,
        typer.Option(help="Groups written by `ecdd govern scan --out`; may be repeated; scanned anew where not given."),
    ] = None,
    train_share: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the faces that is trained on; the others are halved.")
    ] = 0.5,
    contract: Annotated[
        Path | None, typer.Option(help="Policy contract; the default bundle's where not given.")
    ] = None,
    who: Annotated[str, typer.Option(help="Who tags; for the history beside the split.")] = "ecdd govern split",
    as_json: AsJson = False,
) -> None:
    """Tag every picture so that no near-duplicate, known person or held-out source crosses a boundary.

    Every first tag becomes a line of the history beside the split (OUT.history.jsonl); the history of --base is carried
    on. Exit code 2, with every contradiction listed, where that cannot be.
    """
    from ecdd.dataset_governance.build_split import build_split
    from ecdd.dataset_governance.lineage_history import carried_history, carry, history_path, read_history, record_split
    from ecdd.dataset_governance.lineage_tags import load_split

    earlier = None if base is None else load_split(base)
    history = carried_history(history_path(out), None if base is None else history_path(base))
    written = build_split(
        data, out, contract, earlier, hold_out or (), read_history(history), groups or (), train_share
    )
    carry(history, history_path(out))
    record_split(written, history_path(out), who, datetime.datetime.now(datetime.UTC), hold_out or ())
    counts = Counter((row.lineage.value, row.scope, row.label) for row in written.rows.values())
    names = {"0": "real", "1": "fake", "": "no label"}
    for (lineage, scope, label), count in sorted(counts.items()):
        echo(f"{lineage}: {count} {scope}, {names[label]}")
    count = len({row.near_duplicate_group for row in written.rows.values()})
    echo(f"{len(written.rows)} pictures in {count} groups, digest {written.digest}")
    heads = say_heads([history_path(out)])
    if as_json:
        tags = Counter(row.lineage.value for row in written.rows.values())
        about = {"split": str(out), "digest": written.digest, "pictures": len(written.rows), "groups": count}
        write_json(about | {"lineage": dict(sorted(tags.items())), "heads": heads})


@app.command()
def merge(
    *,
    data: Annotated[list[Path], typer.Option(help="Data manifest, or its folder; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Manifest to write; its paths are relative to its folder.")],
    as_json: AsJson = False,
) -> None:
    """Write several data manifests as one, for commands that take a single one (`ecdd gates --data`)."""
    from ecdd.dataset_governance.manifest import manifest_path, merged_text
    from ecdd.files import write_output

    text = merged_text(data, out.parent)
    write_output(out, text.encode(), inputs=[manifest_path(path) for path in data])
    pictures = len(text.splitlines()) - 1
    echo(f"{out}: {pictures} pictures of {len(data)} manifests")
    if as_json:
        write_json({"manifest": str(out), "pictures": pictures, "manifests": [str(path) for path in data]})
