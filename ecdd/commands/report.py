"""``ecdd report``: the page of a run, made again from its records."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from ecdd.errors import EcddError


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, for example reports/default.")] = Path(
        "reports/default"
    ),
    golden: Annotated[Path, typer.Option(help="Golden set, for thumbnails of worst samples.")] = Path("golden"),
    bundle: Annotated[Path | None, typer.Option(help="Bundle that the run judged; the default bundle.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract that the run judged by; the bundle's own.")] = None,
    expected: Annotated[
        Path | None, typer.Option(help="Expected verdicts, whose reasons stand beside the reds.")
    ] = None,
) -> None:
    """Write one self-contained index.html into the folder of a run: verdict, margins, worst samples, figures.

    Records of another bundle or contract are shown as such and support no claim. The folder's mutants.json, written by
    ecdd mutants --out, is shown where it is of the same bundle and contract.
    """
    from ecdd.bundle import load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.evidence.declarations import load_declared, load_expected
    from ecdd.evidence.report import write_report
    from ecdd.evidence.session import RunOptions

    if not (folder / "index.json").is_file():
        raise EcddError(f"{folder}: no index.json; run the gates first, or give the folder of a run")
    for name, path in (("--contract", contract), ("--bundle", bundle), ("--golden", golden)):
        if path is not None and not path.exists():
            raise EcddError(f"{name} {path}: no such file or folder")
    if contract is not None:
        load_contract(contract)
    if bundle is not None:
        load_bundle(bundle)
    root = Path.cwd()
    declared = load_declared(root / "gates" / "declared.yaml")
    reds_file = expected or root / "gates" / "expected_verdicts.yaml"
    reds = load_expected(reds_file, declared) if expected is not None or reds_file.is_file() else {}
    today = datetime.datetime.now(datetime.UTC).date()
    options = RunOptions(root, bundle, contract, golden, None, folder.resolve(), reds_file, today)
    typer.echo(f"report: {write_report(options, declared, reds)}")
