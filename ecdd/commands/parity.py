"""``ecdd parity``: whether two model files say the same of the same pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecdd.commands.terminal import AsJson, console, echo, note, plain, watched, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ecdd.parity.parity_metric import ParityMetric
    from ecdd.parity.parity_report import ParityReport
    from ecdd.parity.parity_run import ParityRequest

_BAD_INPUT = 2
_SIZE = re.compile(r"^(\d{1,4})(?:x(\d{1,4}))?$")
_SPEC = "onnx:FILE, tflite:FILE, torch:FILE, or bundle:FOLDER[:onnx|torch|MODE]; bundle: is the default one."
_Colour = tuple[float, float, float]


def parity(
    *,
    reference: Annotated[str, typer.Option(help=f"What is right: {_SPEC}")] = "bundle::onnx",
    candidate: Annotated[str, typer.Option(help="What is to be as good; as --reference.")] = "bundle:",
    data: Annotated[str, typer.Option(help="Folder of pictures, manifest, one picture, or golden.")] = "golden",
    most: Annotated[int | None, typer.Option(min=1, help="At most so many pictures, by smallest SHA-256.")] = None,
    contract: Annotated[
        Path | None, typer.Option(help="Contract of pixels, gates, pooling and limits; by default the reference's.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle whose calibration (and contract) stand for files alone.")
    ] = None,
    limits: Annotated[
        str, typer.Option(help="quantised: quantization.max_…; exact: tolerances of S5 to S7, for two float files.")
    ] = "quantised",
    layers: Annotated[bool, typer.Option("--layers", help="Also find the first layer above its budget.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for parity.json and pictures.")] = None,
    input_size: Annotated[str | None, typer.Option(help="SIDE or HEIGHTxWIDTH, where the files state none.")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor on a level, in place of the contract's.")] = None,
    mean: Annotated[_Colour | None, typer.Option(help="RGB mean, in place of the contract's.")] = None,
    std: Annotated[_Colour | None, typer.Option(help="RGB standard deviation, in place of the contract's.")] = None,
    whole_picture: Annotated[
        bool, typer.Option("--whole-picture", help="The middle of each picture, for models that judge no faces.")
    ] = False,
    input_name: Annotated[tuple[str, str], typer.Option(help="Input of reference and candidate.")] = ("", ""),
    map_name: Annotated[tuple[str, str], typer.Option(help="Map of reference and candidate.")] = ("", ""),
    pooled_name: Annotated[tuple[str, str], typer.Option(help="Pooled logit of both.")] = ("", ""),
    temperature: Annotated[float | None, typer.Option(help="Calibration by hand: logit / temperature + bias.")] = None,
    bias: Annotated[float | None, typer.Option(help="Of the calibration by hand; 0.")] = None,
    t_real: Annotated[float | None, typer.Option(help="Real at or below.")] = None,
    t_fake: Annotated[float | None, typer.Option(help="Fake at or above.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Of each runtime.")] = 1,
    xnnpack: Annotated[bool, typer.Option(help="Whether XNNPACK computes in TFLite.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare two model files on pictures: patch maps, pooled logits, probabilities, decisions, layers.

    Every output that both files have is compared. Exit code 0 when every limit of the contract is kept, 1 when one is
    not or an output has no partner (incomplete), 2 for files, pictures or options that cannot be used. A contract of
    schema version 4 says what inputs and outputs are; without one the output with the fewest numbers a picture decides.
    """
    from ecdd.files import check_output
    from ecdd.parity.found_layout import TensorNames
    from ecdd.parity.parity_report import WRITTEN
    from ecdd.parity.parity_run import CalibrationOptions, ParityRequest, PixelOptions
    from ecdd.runtimes.registry import RuntimeSettings

    chosen: Literal["quantised", "exact"] = "exact" if limits == "exact" else "quantised"
    if limits != chosen:
        raise typer.BadParameter(f"--limits {limits}; quantised or exact is needed")
    one, other = (TensorNames(*names) for names in zip(input_name, map_name, pooled_name, strict=True))
    request = ParityRequest(
        reference=reference,
        candidate=candidate,
        data=data,
        most=most,
        contract=contract,
        bundle=bundle,
        limits=chosen,
        layers=layers,
        names=(one, other),
        pixels=PixelOptions(_size(input_size), scale, mean, std, whole_picture),
        calibration=CalibrationOptions(temperature, bias, t_real, t_fake),
        settings=RuntimeSettings(threads, xnnpack),
    )
    inputs = [Path(data), *(path for path in (contract, bundle) if path is not None)]
    inputs += [Path(part) for spec in (reference, candidate) for part in spec.split(":")[1:] if part]
    for name in WRITTEN if out is not None else ():
        check_output(Path(out or "", name), inputs)
    report = _run(request)
    files = [] if out is None else report.write(out, inputs)
    if as_json:
        write_json(report.stored())
    else:
        show(report)
    for file in files:
        note(f"written: {file}")
    raise typer.Exit(int(report.verdict != "pass"))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _SIZE.match(text)
    if found is None or "0" in {found[1], found[2]}:
        raise typer.BadParameter(f"--input-size {text}; a side such as 256, or a height and width such as 96x128")
    return int(found[1]), int(found[2] or found[1])


def _run(request: ParityRequest) -> ParityReport:
    """Compare, with a progress bar where a person watches."""
    from ecdd.parity.parity_run import run_parity

    return run_parity(request, lambda rows, total: watched(rows, total, "comparing"))


def show(report: ParityReport) -> None:
    """Print metrics, what was not measured, and the verdict."""
    from rich.table import Table

    from ecdd.parity.pair_comparison import SAME_FILE
    from ecdd.runtimes.inspection import signature_note, signatures

    shown = console(width=None if console().is_terminal else 140)
    parity = report.parity
    echo(f"reference {report.reference.side.spec}  {report.reference.side.sha256[:12]}")
    echo(f"candidate {report.candidate.side.spec}  {report.candidate.side.sha256[:12]}")
    for side in (report.reference.side, report.candidate.side):
        if note := signature_note(side.spec, signatures(side.content)):
            echo(note)
    left_out = f"; {len(parity.left_out)} pictures reach neither model" if parity.left_out else ""
    echo(f"{len(parity.names)} tensors of {parity.n_pictures} pictures{left_out}; pooled by {parity.pooled_by}")
    table = Table("metric", "measured", "limit", "", "verdict", "worst")
    for column in (1, 2):
        table.columns[column].justify = "right"
    for metric in parity.metrics:
        # what is only reported of whole files says little beside the same of tensors; parity.json has it
        if metric.verdict is not None or not metric.name.startswith(SAME_FILE):
            table.add_row(*_row(metric))
    shown.print(table)
    for text in report.not_measured:
        echo(f"not measured: {text}")
    if report.layers is not None:
        _show_layers(report, shown)
    echo(report.verdict, colour="green" if report.verdict == "pass" else "red")


def _row(metric: ParityMetric) -> tuple[str | Text, ...]:
    value = "not a number" if metric.value is None else f"{metric.value:.6g}"
    limit = "" if metric.limit is None else f"{metric.op} {metric.limit:g}"
    verdict = {"pass": "[green]pass[/green]", "fail": "[red]fail[/red]", None: ""}[metric.verdict]
    return metric.name, value, limit, metric.unit, verdict, plain(metric.worst)


def _show_layers(report: ParityReport, shown: Console) -> None:
    from rich.table import Table

    assert report.layers is not None
    layers = report.layers
    table = Table("layer", "shape", "max / spread", "rms / spread", "budget", "")
    for one in layers.layers:
        word = (
            "above" if one.exceeds else "" if one.factors is None else f"x {one.factors[0]:.4g} to {one.factors[1]:.4g}"
        )
        shape = "x".join(str(side) for side in one.shape)
        table.add_row(plain(one.name[-48:]), shape, f"{one.relative:.3g}", f"{one.rms:.3g}", f"{one.budget:g}", word)
    shown.print(table)
    first = layers.first_exceeding
    by = layers.layers[0].matched
    echo(f"layers matched by {by}; first above its budget: {'none' if first is None else first.name}")
    for side, names in zip(("reference", "candidate"), layers.unmatched, strict=True):
        if names:
            echo(f"without a partner in the {side}: {', '.join(names)}")
    if max(layers.changed):
        echo(f"watching moved the maps by {layers.changed[0]:.3g} and {layers.changed[1]:.3g} logit")
