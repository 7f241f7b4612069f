"""``ecdd contract init|check|show|diff|schema|upgrade``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecdd.commands import onboard
from ecdd.commands.terminal import AsJson, console, echo, plain, write_json
from ecdd.errors import EcddError

if TYPE_CHECKING:
    from ecdd.contract.diff import Change, Side
    from ecdd.contract.loading import LoadedContract

app = typer.Typer(help="Make, check, show and compare policy contracts.", no_args_is_help=True, add_completion=False)

ContractPath = Annotated[Path | None, typer.Argument(help="Contract file; the default bundle's where not given.")]


@app.command()
def init(
    *,
    tflite: Annotated[Path | None, typer.Option(help="Your model, as it will ship.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="The same model in float32: the reference.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="In place of both: weights.safetensors of `ecdd models import` or a training.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Contract file to write; nothing may be there yet.")],
    scaling: onboard.Scaling = None,
    crop_margin: onboard.CropMargin = None,
    kind: onboard.Kind = None,
    fake_index: onboard.FakeIndex = None,
    output: onboard.Output = None,
    maps: onboard.Map = None,
    channels: onboard.Channels = "RGB",
    method: onboard.Method = None,
    pooling: onboard.Pooling = None,
    geometry: onboard.Geometry = None,
    contract: onboard.Base = None,
    as_json: AsJson = False,
) -> None:
    """Write the contract of your pair of model files, as `ecdd onboard` does, or of a weight file, and nothing else.

    Operator, factor, grid and pixels of a weight file are read from it; `ecdd export` and `calibrate` ask for them.
    """
    from ecdd.contract.loading import load_contract

    if (checkpoint is None) == (tflite is None) or (tflite is None) != (onnx is None):
        given = ", ".join(str(path) for path in (tflite, onnx, checkpoint) if path is not None) or "nothing"
        raise EcddError(f"given: {given}; needed: --tflite and --onnx, a pair, or --checkpoint, weights")
    if out.exists():
        raise EcddError(f"{out}: is there already; name a new file with --out, nothing is overwritten")
    said = onboard.said_by(scaling, crop_margin, kind, fake_index, output, maps, channels, method, pooling, geometry)
    if tflite is not None and onnx is not None:
        own = onboard.described(tflite, onnx, said, load_contract(contract))
    else:
        from ecdd.bundle import bundle_path
        from ecdd.errors import ListedError
        from ecdd.export.weights_contract import contract_of_weights

        assert checkpoint is not None, "one of both was given"
        if said.wrong:
            raise ListedError(list(said.wrong))
        base = load_contract(contract or bundle_path("tiny") / "policy_contract.yaml")
        own, notes = contract_of_weights(checkpoint, said.pooling, said.crop_margin, base)
        for note in notes:
            echo(note)
    own.dump(out)
    echo(f"{out}: {len(own.proposed)} values proposed")
    if as_json:
        write_json({"contract": str(out), "digest": own.digest, "proposed": list(own.proposed)})


@app.command()
def check(
    path: ContractPath = None,
    release: Annotated[bool, typer.Option("--release", help="Refuse proposed values, as a release does.")] = False,
    *,
    as_json: AsJson = False,
) -> None:
    """Check a contract; exit code 2 where it is wrong, 1 where --release finds a proposed value."""
    from ecdd.contract.loading import load_contract

    contract = load_contract(path)
    proposed = contract.proposed
    if as_json:
        digests = {"digest": contract.digest, "preprocessing_digest": contract.preprocessing_digest}
        write_json(
            {"path": str(contract.path), "values": len(contract.provenance), "proposed": list(proposed)} | digests
        )
        raise typer.Exit(int(release and bool(proposed)))
    echo(f"{contract.path}: {len(contract.provenance)} values, {len(proposed)} proposed")
    echo(f"digest {contract.digest}")
    echo(f"preprocessing digest {contract.preprocessing_digest}")
    if release and proposed:
        for key in proposed:
            standing = contract.provenance[key]
            echo(
                f"{contract.path}:{standing.line}: {key}: proposed; a release needs it frozen by {standing.set_by}",
                err=True,
            )
        raise typer.Exit(1)


@app.command()
def show(
    path: ContractPath = None,
    as_json: AsJson = False,
    proposed: Annotated[bool, typer.Option("--proposed", help="Only the values nobody has decided yet.")] = False,
) -> None:
    """Show every knob with value, unit, allowed range, status, deciding experiment and meaning."""
    from ecdd.contract.loading import load_contract

    contract = load_contract(path)
    rows = _rows(contract, set(contract.proposed) if proposed else None)
    if as_json:
        content = {
            "path": str(contract.path),
            "digest": contract.digest,
            "preprocessing_digest": contract.preprocessing_digest,
            "knobs": rows,
        }
        write_json(content)
        return
    _print_table(
        f"{contract.path} · {contract.digest[:16]}",
        ("key", "value", "unit", "allowed", "status", "set by", "meaning"),
        [
            (
                str(row["key"]),
                json.dumps(row["value"], ensure_ascii=False),
                str(row["unit"]),
                str(row["allowed"]),
                str(row["status"]),
                str(row["set_by"]),
                str(row["meaning"]),
            )
            for row in rows
        ],
    )


def _rows(contract: LoadedContract, only: set[str] | None) -> list[dict[str, object]]:
    from ecdd.contract.describing import allowed, knob_fields

    values = contract.values
    return [
        {
            "key": key,
            "value": values[key],
            "unit": knob.unit,
            "allowed": allowed(key),
            "status": contract.provenance[key].status,
            "set_by": knob.set_by,
            "meaning": knob.meaning,
            "line": contract.provenance[key].line,
        }
        for key, knob in knob_fields().items()
        if only is None or key in only
    ]


def _print_table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table; text is never read as markup, and a pipe gets it as wide as it needs to be."""
    from rich.table import Table

    shown = console()
    widest = None if shown.is_terminal else 60
    table = Table(title=plain(title))
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold", max_width=widest)
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    if not shown.is_terminal:
        shown = console(width=console(width=10_000).measure(table).maximum)
    shown.print(table)


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(help="Contract before.")],
    second: Annotated[Path, typer.Argument(help="Contract after.")],
    as_json: AsJson = False,
) -> None:
    """Compare two contracts, with the stages and gates a change touches; exit code 1 where they differ."""
    from ecdd.contract.diff import diff as compare
    from ecdd.contract.loading import load_contract

    before, after = load_contract(first), load_contract(second)
    changes = compare(before, after)
    if as_json:
        from dataclasses import asdict

        content = {
            "first": {"path": str(first), "digest": before.digest},
            "second": {"path": str(second), "digest": after.digest},
            "changes": [asdict(change) for change in changes],
        }
        write_json(content)
    elif changes:
        _print_table(
            f"{first} → {second}", ("key", "", "before", "after", "stages", "gates"), [_row(item) for item in changes]
        )
    else:
        echo(f"equal: {before.digest}")
    if changes:
        raise typer.Exit(1)


def _row(change: Change) -> tuple[str, ...]:
    stages = "-".join(dict.fromkeys((change.stages[0], change.stages[-1]))) if change.stages else "none"
    return (
        change.key,
        change.kind,
        _side(change.before),
        _side(change.after),
        stages,
        " ".join(change.gates) or "none",
    )


def _side(side: Side | None) -> str:
    return "absent" if side is None else f"{json.dumps(side.value, ensure_ascii=False)} ({side.status})"


@app.command()
def schema() -> None:
    """Write the JSON Schema of a contract file, with unit and deciding experiment of every knob."""
    from ecdd.contract.describing import json_schema

    echo(json.dumps(json_schema(), indent=2))


@app.command()
def upgrade(
    path: ContractPath = None,
    *,
    out: Annotated[Path, typer.Option(help="Contract to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a contract of an older schema version in the newest one.

    What it lacks is written as proposed, with the value that applied without it: nothing is decided otherwise.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.contract.upgrading import SCHEMA_VERSION
    from ecdd.contract.writing import contract_text
    from ecdd.files import write_output

    contract = load_contract(path)
    values = {**contract.values, "schema_version": SCHEMA_VERSION}
    write_output(out, contract_text(values, contract.provenance).encode(), inputs=[contract.path])
    echo(f"{out}: schema version {SCHEMA_VERSION}; {len(contract.filled_in)} knobs added, all proposed")
    if as_json:
        write_json({"contract": str(out), "schema_version": SCHEMA_VERSION, "added": list(contract.filled_in)})
