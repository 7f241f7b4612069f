"""``ecdd diff``: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ecdd.commands.terminal import AsJson, echo, note, write_json
from ecdd.errors import EcddError, ListedError

if TYPE_CHECKING:
    from ecdd.evidence.comparing import RunDiff
    from ecdd.evidence.records import ExperimentRecord

_COLOURS: Final = {True: "red", False: "green"}


def diff(
    before: Annotated[Path, typer.Argument(help="Folder of a run, for example reports/default.", metavar="RUN_A")],
    after: Annotated[Path, typer.Argument(help="Folder of a later run.", metavar="RUN_B")],
    *,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Also write a self-contained page to this file.")] = None,
) -> None:
    """Compare two runs: verdicts that changed, metrics that moved beyond noise, limits, versions.

    Noise is three standard errors for a share of n pictures, a quarter for a time or memory, a hundredth of
    its limit for another number with digits, and rounding for all else.
    Exit code 0 where no verdict became worse, 1 where one did or lost its record, 2 for a folder that is no run or was
    edited.
    """
    from ecdd.evidence.comparing import compare
    from ecdd.evidence.run_diff import page
    from ecdd.files import write_output

    found = compare(_records(before), _records(after))
    if html is not None:
        write_output(html, page(found, before.name, after.name).encode(), inputs=[before, after])
    if as_json:
        write_json(found.to_dict())
    else:
        _show(found)
    if html is not None:
        note(f"written: {html}")
    raise typer.Exit(int(found.worse))


def _records(folder: Path) -> dict[str, ExperimentRecord]:
    from ecdd.evidence.edits import find_edits
    from ecdd.evidence.merging import read_records

    if not (folder / "index.json").is_file():
        raise EcddError(f"{folder}: no index.json; give the folder of a run, for example reports/default")
    edits = find_edits(folder)
    if edits:
        raise ListedError([f"{folder}: refused, the evidence is not as the run wrote it", *edits])
    return read_records(folder)


def _show(found: RunDiff) -> None:
    from ecdd.evidence.report_rows import shown
    from ecdd.evidence.run_diff import headline

    echo(headline(found), colour=_COLOURS[found.worse])
    for change in found.verdicts:
        echo(f"  {change.id} {change.title}: {change.before} -> {change.after}", colour=_COLOURS[change.worse])
    moved = found.moved
    echo(f"metrics beyond noise: {len(moved)}; {len(found.metrics) - len(moved)} more differ within it")
    for metric in moved:
        samples = "" if metric.n is None else f", n {metric.n}"
        before, after = shown(metric.before, metric.after), shown(metric.after, metric.before)
        echo(f"  {metric.id} {metric.metric}: {before} -> {after} {metric.unit}{samples}")
    for limit in found.limits:
        echo(f"limit {limit.id} {limit.metric}: {limit.before} -> {limit.after}")
    for when, names in (("before", found.only_before), ("after", found.only_after)):
        for key, name in names:
            echo(f"measured only {when}: {key} {name}")
    for name, pair in found.identity.items():
        one, two = (_short(name, value) for value in pair)
        echo(f"{name.replace('_', ' ')}: {one} -> {two}")


def _short(name: str, value: str) -> str:
    return (value[:12] if name.endswith("_digest") else value) or "none"
