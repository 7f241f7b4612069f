"""``ecdd gates``: run the specification on a bundle, from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ecdd.commands.terminal import AsJson, echo, lines_descriptor, write_json

if TYPE_CHECKING:
    from ecdd.evidence.gates_run import GatesRequest

MOST_REASONS = 12  # a run of one gate leaves all others without a record


class _WithPytestArguments(TyperCommand):
    """What stands behind ``--`` is pytest's and is not looked at."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - of the library below Typer
        place = args.index("--") if "--" in args else len(args)
        ctx.obj = tuple(args[place + 1 :])
        return list(super().parse_args(ctx, args[:place]))


app = typer.Typer(add_completion=False)


@app.command("gates", cls=_WithPytestArguments)
def gates(  # noqa: PLR0917 - options of the command line
    ctx: typer.Context,
    chosen: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GATE]...", help="G1 … G6, phase7, phase8, E4.4, or claims; all by default."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle to judge; one that ships by its name.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract to judge by; the bundle's own.")] = None,
    golden: Annotated[Path | None, typer.Option(help="Golden set; the specification's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled pictures: manifest.csv or its folder.")] = None,
    workers: Annotated[str, typer.Option("--jobs", "-n", help="Worker processes: a number, or auto.")] = "0",
    out: Annotated[
        Path | None, typer.Option(help="Folder of records, report and JUnit; ./reports/runs/<payload digest>.")
    ] = None,
    expected: Annotated[
        Path | None, typer.Option(help="Expected verdicts: exit code 0 where every verdict is the one named there.")
    ] = None,
    attest: Annotated[
        Path | None, typer.Option(help="Private key of who runs the gates: sign what ran, for ecdd release.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the clauses of the specification and write records, report and JUnit into one folder.

    Ends with the gates, the report's path and what a release would say. Exit code 0 where nothing is red, 1 where
    something is, 2 where the call, a file, a contract or a bundle is wrong. What stands behind -- goes to pytest.
    """
    from ecdd.bundle import bundle_path
    from ecdd.evidence.attestation import attest as sign_evidence
    from ecdd.evidence.attestation import check_fresh, load_signer
    from ecdd.evidence.gates_run import GatesRequest, run_gates
    from ecdd.evidence.head import HEAD_FILE

    named = bundle and bundle_path(bundle)
    request = GatesRequest(tuple(chosen or ()), named, contract, golden, data, workers, out, expected, ctx.obj)
    if attest is not None:
        load_signer(attest)
        check_fresh(request.folder)
    code = run_gates(request, lines_descriptor())
    if code in {0, 1}:
        attestation = None
        if attest is not None and (request.folder / HEAD_FILE).is_file():
            attestation = str(sign_evidence(request.folder, attest))
            echo(f"attested: {attestation}")
        about = say_end(request)
        if as_json:
            write_json({"exit_code": code, "attestation": attestation} | about)
    raise typer.Exit(code)


def say_end(request: GatesRequest) -> dict[str, Any]:
    """Print the gates, the report's path and what a release would say of this folder's records.

    Parameters
    ----------
    request : GatesRequest
        A run that has ended.

    Returns
    -------
    dict
        The same as JSON values, with the verdict of each experiment.
    """
    import datetime

    from ecdd.bundle import load_bundle
    from ecdd.commands.release import plain, say
    from ecdd.evidence.declarations import load_specification
    from ecdd.evidence.merging import read_records
    from ecdd.evidence.summary import gate_lines, not_tested_lines
    from ecdd.release.approval import decide

    if not (request.folder / "index.json").is_file():
        return {"folder": str(request.folder)}
    records, declared = read_records(request.folder), load_specification()
    for line in not_tested_lines(records):
        echo(line)
    for line, colour in gate_lines(records, declared):
        echo(line, colour=colour)
    echo(f"report: {request.folder / 'index.html'}")
    bundle = load_bundle(request.bundle)
    today = datetime.datetime.now(datetime.UTC).date()
    decision = decide(bundle, [request.folder], [], today)
    say(bundle, decision, most=MOST_REASONS)
    return {
        "folder": str(request.folder),
        "report": str(request.folder / "index.html"),
        "verdicts": {key: record.verdict for key, record in records.items()},
        "not_tested": not_tested_lines(records),
        "release": plain(bundle, decision),
    }
