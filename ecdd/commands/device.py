"""``ecdd device``: a kit for other implementations, dumps of their stages, and what these are held to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecdd.commands.terminal import AsJson, echo, write_json

if TYPE_CHECKING:
    from ecdd.parity.device_report import DeviceReport

app = typer.Typer(help="Prove another implementation: pack a kit, dump stages, judge a dump.", no_args_is_help=True)

_Bundle = Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")]
_Golden = Annotated[Path | None, typer.Option(help="Golden set; the project's own where not given.")]


@app.command()
def pack(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle; the default one where not given.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="New folder.")],
    golden: _Golden = None,
    as_json: AsJson = False,
) -> None:
    """Write a kit: model, contract as JSON, golden pictures, frozen stages as a dump."""
    from ecdd.bundle.loading import load_bundle
    from ecdd.golden.golden_sets import load_checked
    from ecdd.parity.device_kit import check_new_folder, pack_kit
    from ecdd.parity.device_reference import load_reference

    check_new_folder(out)
    reference = load_reference(load_bundle(bundle), load_checked(golden))
    files = pack_kit(reference, out)
    frozen, n = len(reference.frozen), len(reference.dump.head.pictures)
    echo(f"{out}: {len(files)} files, {n} golden pictures, stages of {frozen} frozen, of {n - frozen} computed here")
    if as_json:
        write_json({"folder": str(out), "files": files, "pictures": n, "frozen": frozen})


@app.command()
def dump(
    out: Annotated[Path, typer.Option(help="File to write, .npz.")],
    platform: Annotated[str, typer.Option(help="Name under which the dump stands in evidence.")],
    bundle: _Bundle = None,
    golden: _Golden = None,
    kind: Annotated[str, typer.Option(help="device, emulated or browser.")] = "device",
    picture: Annotated[list[str] | None, typer.Option(help="Golden id; all where not given; repeatable.")] = None,
    *,
    about: Annotated[list[str] | None, typer.Option(help="NAME=TEXT, kept in the dump; repeatable.")] = None,
    xnnpack: Annotated[bool, typer.Option(help="Whether XNNPACK computes the model.")] = True,
    pixels: Annotated[bool, typer.Option("--pixels", help="Also keep S1's pixels.")] = False,
    as_json: AsJson = False,
) -> None:
    """Dump S0 to S8 of the golden pictures with this implementation, on whatever machine it runs."""
    from ecdd.bundle.loading import load_bundle
    from ecdd.detector import Detector
    from ecdd.files import check_output
    from ecdd.golden.golden_sets import load_checked
    from ecdd.parity.device_dump import PLATFORM_NAME, Platform, write_npz
    from ecdd.parity.device_reference import make_dump

    if not re.fullmatch(PLATFORM_NAME, platform):
        raise typer.BadParameter(
            f"--platform {platform}: letters, digits and . _ + -, at most 80, a letter or digit first"
        )
    loaded, pictures = load_bundle(bundle), load_checked(golden)
    inputs = [loaded.path, pictures.root]
    check_output(out, inputs)
    if unknown := set(picture or ()) - {item.id for item in pictures.items}:
        raise typer.BadParameter(f"--picture {', '.join(sorted(unknown))}: not in the golden set")
    wrong = [one for one in about or () if "=" not in one]
    if wrong or kind not in ("device", "emulated", "browser"):
        raise typer.BadParameter(f"--about {wrong[0]}: NAME=TEXT" if wrong else f"--kind {kind}: see --help")
    contract = None if xnnpack else loaded.contract.with_values({"runtime.delegate": "none"})
    detector = Detector.load(loaded, contract)
    notes = {key: str(value) for key, value in detector.runtime.describe().items() if key in _TOLD}
    notes |= dict(one.split("=", 1) for one in about or ())
    chosen: Literal["device", "emulated", "browser"] = kind  # type: ignore[assignment]
    where = Platform(name=platform, kind=chosen, about=notes)
    items = [item for item in pictures.items if not picture or item.id in picture]
    found = None
    for count, found in make_dump(detector, items, where, pixels=pixels):  # noqa: B007 - the last one is the whole
        echo(f"{count} of {len(items)} {items[count - 1].id}", err=True)
    if found is None:
        raise typer.BadParameter("--golden: the set has no pictures")
    write_npz(out, found, inputs)
    echo(f"{out}: {len(items)} pictures of {platform}")
    if as_json:
        told = {"platform": platform, "kind": kind, "payload_digest": loaded.payload_digest}
        write_json({"dump": str(out), "pictures": [item.id for item in items]} | told)


_TOLD = ("library", "delegate", "threads", "model_sha256")


@app.command()
def judge(
    path: Annotated[
        Path, typer.Argument(metavar="DUMP", help="An .npz file, or a folder with dump.json and dump.bin.")
    ],
    bundle: _Bundle = None,
    golden: _Golden = None,
    as_json: AsJson = False,
) -> None:
    """Hold a dump to the frozen stages: the first stage that moves, by how much, and the likely cause.

    Exit code 0 when every stage of every golden picture is there and keeps the contract's tolerance, 1 when one moves
    or is missing, 2 when the dump cannot be read or is of another bundle.
    """
    from ecdd.bundle.loading import load_bundle
    from ecdd.golden.golden_sets import load_checked
    from ecdd.parity.device_dump import read_dump
    from ecdd.parity.device_reference import load_reference
    from ecdd.parity.device_report import judge_dump

    given = read_dump(path)
    report = judge_dump(given, load_reference(load_bundle(bundle), load_checked(golden)))
    if as_json:
        write_json(report.as_json())
    else:
        echo(_text(report))
    if not report.passes:
        raise typer.Exit(1)


def _text(report: DeviceReport) -> str:
    where = f" ({report.platform.kind}: functional, no times)" if report.platform.kind == "emulated" else ""
    lines = [f"{report.platform.name}{where}", "stage     n  moved  worst"]
    for one in report.stages:
        if not one.n:
            lines.append(f"{one.stage}        0         not in the dump")
            continue
        worst = f"{one.worst:.4g} {one.limit.unit}".strip() + (f" at {one.worst_name}" if one.worst_name else "")
        limit = f", limit {one.limit.value:g} ({one.limit.clause})" if one.limit.value else ", exact"
        lines.append(f"{one.stage}    {one.n:5d}  {len(one.moved):5d}  {worst}{limit}")
    ends = ", ".join(f"{stage} {value:.4g}" for stage, value in report.end_to_end.items())
    lines.append(f"from picture to number, whatever moved: {ends}")
    lines += (
        [f"missing: {', '.join(report.missing[:5])} ({len(report.missing)} golden pictures)"] if report.missing else []
    )
    lines += [f"decided otherwise: {text}" for text in report.other_decisions]
    if not report.frozen:
        lines.append("the golden stages are not this bundle's: this machine computed what is compared with")
    first = report.first
    if first is not None and report.cause is not None:
        told = f" (explains {report.cause.explained:.0%})" if report.cause.explained else ""
        lines.append(
            f"FIRST STAGE THAT MOVES: {first.stage}; likely cause, {report.cause.kind}: {report.cause.what}{told}"
        )
    else:
        lines.append("every stage keeps its tolerance" if report.passes else "what the dump holds keeps its tolerance")
    return "\n".join(lines)
