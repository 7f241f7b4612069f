"""``ecdd report``: the page of a run, made again from its records."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, write_json
from ecdd.errors import EcddError
from ecdd.specification import EXPECTED, GOLDEN


def report(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of a run, for example reports/default; the bundle's own run where not given."),
    ] = None,
    golden: Annotated[
        Path, typer.Option(help="Golden set, for thumbnails of worst samples.", show_default="the specification's")
    ] = GOLDEN,
    bundle: Annotated[Path | None, typer.Option(help="Bundle that the run judged; the default bundle.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract that the run judged by; the bundle's own.")] = None,
    expected: Annotated[
        Path | None, typer.Option(help="Expected verdicts, whose reasons stand beside the reds.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained index.html into the folder of a run: verdict, margins, worst samples, figures.

    Records of another bundle or contract are shown as such and support no claim. The folder's mutants.json, written by
    ecdd mutants --out, is shown where it is of the same bundle and contract.
    """
    from ecdd.bundle import bundle_path, load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.evidence.declarations import load_declarations, load_expected
    from ecdd.evidence.report import write_report
    from ecdd.evidence.session import RunOptions, payload_digest_of

    root, bundle = Path.cwd(), bundle and bundle_path(bundle)
    folder = folder or root / "reports" / "runs" / payload_digest_of(bundle)[:16]
    if not (folder / "index.json").is_file():
        raise EcddError(f"{folder}: no index.json; run the gates first, or give the folder of a run")
    for name, path in (("--contract", contract), ("--bundle", bundle), ("--golden", golden)):
        if path is not None and not path.exists():
            raise EcddError(f"{name} {path}: no such file or folder")
    if contract is not None:
        load_contract(contract)
    if bundle is not None:
        load_bundle(bundle)
    declared = load_declarations(root, specification=True).experiments
    reds_file = expected or EXPECTED
    reds = load_expected(reds_file, declared)
    today = datetime.datetime.now(datetime.UTC).date()
    options = RunOptions(root, bundle, contract, golden, None, folder.resolve(), reds_file, today)
    page = write_report(options, declared, reds)
    echo(f"report: {page}")
    if as_json:
        write_json({"report": str(page)})
