"""``ecdd trace``: the stages S0 to S8 of one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ecdd.commands.terminal import AsJson, echo, write_json


def trace(
    path: Annotated[Path, typer.Argument(help="Picture.", show_default=False)],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show S0 to S8 of one picture with the digest or the values of each stage."""
    from ecdd.commands.given_paths import STDIN, refuse_missing
    from ecdd.detector import Detector
    from ecdd.errors import EcddError

    refuse_missing([path])
    if path == STDIN or path.is_dir():
        raise EcddError(f"{path}: one picture is needed, as a file")
    detector = Detector.load(bundle, contract)
    record = detector.examine(path)
    rows = record.rows()
    if as_json:
        content = {
            "path": str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            "bundle_digest": detector.bundle.payload_digest,
            "contract_digest": detector.contract.digest,
            "detail": record.detail,
            "stages": rows,
            "milliseconds": {stage: round(value, 3) for stage, value in record.milliseconds.items()},
        }
        write_json(content)
        return
    echo(f"bundle {detector.bundle.payload_digest}\ncontract {detector.contract.digest}")
    for row in rows:
        face = "" if row["face"] is None else f" face {row['face']}"
        echo(f"{row['stage']}{face}")
        for name, value in row.items():
            if name not in ("stage", "face"):
                echo(f"    {name:18}{_shown(value)}")
    if record.detail:
        echo(record.detail)
    times = ", ".join(f"{stage} {value:.1f}" for stage, value in record.milliseconds.items())
    echo(f"milliseconds: {times}")


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON values
    if isinstance(value, dict):
        return ", ".join(f"{name} {content}" for name, content in value.items())
    if isinstance(value, list):
        return ", ".join(str(content) for content in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
