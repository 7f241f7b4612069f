"""``ecdd onboard``: from two model files to a report, in one command."""

from __future__ import annotations

import datetime
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecdd.commands.terminal import echo, progress
from ecdd.errors import EcddError
from ecdd.specification import GOLDEN, SPLIT

if TYPE_CHECKING:
    from ecdd.contract.interface_section import OutputKind
    from ecdd.contract.loading import LoadedContract
    from ecdd.export.onboarding import Said

TFLite = Annotated[Path, typer.Option(help="Your model, as it will ship.")]
Onnx = Annotated[Path, typer.Option(help="The same model in float32: the reference.")]
Scaling = Annotated[str | None, typer.Option(help="What it was fed with: -1..1, 0..1, imagenet or 0..255.")]
CropMargin = Annotated[
    float | None, typer.Option(help="Side of its training crops / longer side of the face box, 1 to 4.")
]
Kind = Annotated[
    str | None, typer.Option(help="logit, probability, class_logits or class_probabilities, where not inferred.")
]
FakeIndex = Annotated[int | None, typer.Option(help="Place of fake among the classes, from 0.")]
Output = Annotated[list[str] | None, typer.Option(help="Output that decides; twice for TFLite and ONNX.")]
Map = Annotated[list[str] | None, typer.Option("--map", help="Heatmap output, if any; twice for TFLite and ONNX.")]
Channels = Annotated[str, typer.Option(help="Order in which the model reads colours: RGB or BGR.")]
Method = Annotated[str, typer.Option(help="calibration.method: platt, temperature or isotonic.")]
Base = Annotated[Path | None, typer.Option("--contract", help="Policy of everything else; the default bundle's.")]


def said_by(
    scaling: str | None,
    crop_margin: float | None,
    kind: str | None,
    fake_index: int | None,
    output: list[str] | None,
    maps: list[str] | None,
    channels: str,
    method: str,
) -> Said:
    """The options as one record; a wrong word is refused by name."""
    from typing import cast, get_args

    from ecdd.contract.interface_section import OutputKind as Kinds
    from ecdd.export.onboarding import Said

    kinds = [one for one in get_args(Kinds) if one != "patch_logits"]
    if kind is not None and kind not in kinds:
        raise EcddError(f"--kind {kind}: one of {', '.join(kinds)} is needed")
    if channels not in {"RGB", "BGR"}:
        raise EcddError(f"--channels {channels}: RGB or BGR is needed")
    order: Literal["RGB", "BGR"] = "BGR" if channels == "BGR" else "RGB"
    known = cast("OutputKind | None", kind)
    return Said(scaling, crop_margin, known, fake_index, tuple(output or ()), tuple(maps or ()), order, method)


def described(tflite: Path, onnx: Path, said: Said, base: LoadedContract) -> LoadedContract:
    """The contract of a pair, with what was found printed, also where something has to be said."""
    from ecdd.export.onboarding import OnboardingError, contract_for

    try:
        own, notes = contract_for(tflite, onnx, said, base)
    except OnboardingError as error:
        for note in error.found:
            echo(note)
        raise
    for note in notes:
        echo(note)
    return own


def onboard(
    *,
    tflite: TFLite,
    onnx: Onnx,
    data: Annotated[
        Path | None, typer.Option(help="Labelled pictures: manifest.csv or its folder; without it no calibration.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Their lineage tags; without it golden/data_split.csv, or a new one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all that is made; nothing may be there yet.")] = Path(
        "onboarded"
    ),
    scaling: Scaling = None,
    crop_margin: CropMargin = None,
    kind: Kind = None,
    fake_index: FakeIndex = None,
    output: Output = None,
    maps: Map = None,
    channels: Channels = "RGB",
    method: Method = "platt",
    contract: Base = None,
    gate: Annotated[
        list[str] | None, typer.Option(help="Gates to run; may be repeated; G1 to G6 where not given.")
    ] = None,
    workers: Annotated[
        str, typer.Option("--jobs", "-n", help="Worker processes of the gates: a number, or auto.")
    ] = "0",
) -> None:
    """Take a pair of model files through everything: contract, parity, bundle, golden outputs, gates, report.

    What cannot be inferred is asked for in one message, each option with an example. Exit code 0 where every gate is
    green, 1 where the report says no, 2 where something has to be said or a file cannot be used.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.dataset_governance.manifest import load_manifest
    from ecdd.dataset_governance.usable_faces import usable_faces

    started = time.monotonic()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EcddError(f"{out}: is there already; name a new folder with --out, nothing is overwritten")
    known = load_split(split) if split is not None else None
    if data is not None:
        usable = load_manifest(data)
        if known is not None:
            usable_faces(usable, known, [LineageTag.CALIBRATION])
    said = said_by(scaling, crop_margin, kind, fake_index, output, maps, channels, method)
    own = described(tflite, onnx, said, load_contract(contract))
    out.mkdir(parents=True, exist_ok=True)
    own.dump(out / "policy_contract.yaml")
    code = _judge(tflite, onnx, data, split, out, gate or ["G1", "G2", "G3", "G4", "G5", "G6"], workers)
    echo(f"{time.monotonic() - started:.0f} s")
    raise typer.Exit(code)


def _judge(
    tflite: Path, onnx: Path, data: Path | None, split: Path | None, out: Path, gates: list[str], workers: str
) -> int:  # fmt: skip
    """Parity of the files, then, with pictures, a bundle and its gates."""
    from ecdd.commands.gates import say_end
    from ecdd.evidence.gates_run import GatesRequest, run_gates

    code = _parity(tflite, onnx, out)
    if data is None:
        echo(
            "still missing: labelled pictures; --data MANIFEST (path,label,scope,source), without them a bundle has no "
            f"calibration. The contract is {out / 'policy_contract.yaml'}"
        )
        return 1
    bundle, golden, reports = out / "bundle", out / "golden", out / "reports"
    tags = _tags(data, split, out)
    _build(tflite, onnx, data, tags, out, bundle)
    shutil.copytree(GOLDEN, golden)
    freeze = ("--snapshot-update", "-q", "--tb=no", "--no-header", "-p", "no:warnings")
    for name, own_bundle in (("G1", None), ("G3", bundle)):
        request = GatesRequest((name,), own_bundle or bundle, None, golden, None, "0", out / "frozen", None, freeze)
        found = run_gates(request)
        if found > 1:
            raise EcddError(f"{golden}: the golden set could not be frozen with this contract; see the lines above")
        if found:
            echo(f"{name}: the file that ships does not say what the reference says; the gates say where")
    known = data if tags == SPLIT else None
    if known is None:
        echo(f"the gates read pictures by the tags of {SPLIT} alone; sweeps on yours are not tested")
    request = GatesRequest(tuple(gates), bundle, None, golden, known, workers, reports, None)
    judged = run_gates(request)
    if judged in {0, 1}:
        say_end(request)
        _missing(reports)
    return max(code, judged)


def _parity(tflite: Path, onnx: Path, out: Path) -> int:
    from ecdd.commands.parity import show
    from ecdd.parity.parity_run import ParityRequest, run_parity

    request = ParityRequest(f"onnx:{onnx}", f"tflite:{tflite}", most=60, contract=out / "policy_contract.yaml")
    report = run_parity(request)
    report.write(out / "parity")
    show(report)
    return int(report.verdict != "pass")


def _tags(data: Path, split: Path | None, out: Path) -> Path:
    """The given tags; else the project's own, where they know these pictures; else new ones, all CALIBRATION."""
    from ecdd.dataset_governance.build_split import build_split
    from ecdd.dataset_governance.lineage_tags import load_split
    from ecdd.dataset_governance.manifest import load_manifest

    if split is not None:
        return split
    rows = load_manifest(data)
    if SPLIT.is_file() and {row.sha256 for row in rows} <= load_split(SPLIT).rows.keys():
        return SPLIT
    made = out / "split.csv"
    build_split(data, made, out / "policy_contract.yaml", train_share=0.0)
    echo(f"{made}: lineage tags of pictures that none had; correct them where a picture was trained on")
    return made


def _build(tflite: Path, onnx: Path, data: Path, tags: Path, out: Path, bundle: Path) -> None:
    from ecdd.export.own_model import OwnModel, build, calibration_pictures
    from ecdd.files import read_text

    text = read_text(out / "policy_contract.yaml")
    pictures = calibration_pictures(data, tags, None)
    own = OwnModel(tflite, onnx, text, "own-model", "0.1.0")
    today = datetime.datetime.now(datetime.UTC).date()
    with progress("scoring", len(pictures)) as bar:
        _, fitted = build(own, bundle, pictures, today, bar.advance)
    for line in (*fitted.calibrator.warnings, fitted.calibrator.reason, *fitted.thresholds.notes):
        echo(line)


def _missing(reports: Path) -> None:
    """The shortest list of what nobody measured: each reason once."""
    from ecdd.evidence.merging import read_records

    reasons: dict[str, list[str]] = {}
    for key, record in read_records(reports).items():
        for entry in record.not_tested:
            delegate = entry.what.startswith("delegate ")
            reasons.setdefault("delegates of phones, on a phone" if delegate else entry.why, []).append(key)
    echo("still missing:" if reasons else "nothing is missing")
    for why, keys in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        echo(f"  {why} ({', '.join(dict.fromkeys(keys))})")
