"""``ecdd onboard``: from two model files to a report, in one command."""

from __future__ import annotations

import datetime
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ecdd.commands.terminal import AsJson, echo, lines_descriptor, progress, write_json
from ecdd.errors import EcddError
from ecdd.specification import GOLDEN, SPLIT

if TYPE_CHECKING:
    from ecdd.contract.interface_section import OutputKind
    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.model_sections import PoolingRule
    from ecdd.export.said import Said

TFLite = Annotated[Path, typer.Option(help="Your model, as it will ship.")]
Onnx = Annotated[Path, typer.Option(help="The same model in float32: the reference.")]
Scaling = Annotated[str | None, typer.Option(help="What it was fed with: -1..1, 0..1, imagenet or 0..255.")]
CropMargin = Annotated[
    float | None, typer.Option(help="Side of its training crops / longer side of the face box, 1 to 4.")
]
Kind = Annotated[
    str | None,
    typer.Option(help="logit, probability, class_logits, class_probabilities or patch_logits, where not inferred."),
]
FakeIndex = Annotated[
    int | None, typer.Option(help="Place of fake among the classes, from 0; of one number 0: larger means real.")
]
Output = Annotated[list[str] | None, typer.Option(help="Output that decides; twice for TFLite and ONNX.")]
Map = Annotated[list[str] | None, typer.Option("--map", help="Heatmap output, if any; twice for TFLite and ONNX.")]
Channels = Annotated[str, typer.Option(help="Order in which the model reads colours: RGB or BGR.")]
Method = Annotated[
    str | None, typer.Option(help="calibration.method: platt, temperature or isotonic; the pictures' logits decide it.")
]
Pooling = Annotated[
    str | None, typer.Option(help="How a map that decides becomes one logit: mean, top_k, trimmed_mean or attention.")
]
Geometry = Annotated[
    str | None,
    typer.Option(help="STRIDE,FIELD,PADDING of the map's cells, px, where they do not see the whole picture."),
]
Base = Annotated[Path | None, typer.Option("--contract", help="Contract of everything else; the default bundle's.")]


def said_by(  # noqa: PLR0917 - one parameter an option
    scaling: str | None,
    crop_margin: float | None,
    kind: str | None,
    fake_index: int | None,
    output: list[str] | None,
    maps: list[str] | None,
    channels: str,
    method: str | None,
    pooling: str | None,
    geometry: str | None,
) -> Said:
    """The options as one record, with what is wrong in them: it is refused together with what the files lack."""
    from typing import cast, get_args

    from ecdd.calibration.calibrators import METHODS
    from ecdd.contract.describing import allowed as range_of
    from ecdd.contract.describing import value_schema
    from ecdd.contract.interface_section import OutputKind as Kinds
    from ecdd.contract.model_sections import POOLING_RULES
    from ecdd.export.said import Said

    allowed = (("kind", kind, get_args(Kinds)), ("method", method, tuple(METHODS)),
               ("channels", channels, ("RGB", "BGR")), ("pooling", pooling, POOLING_RULES))  # fmt: skip
    wrong = [f"--{name} {word}: one of {', '.join(words)} is needed"
             for name, word, words in allowed if word is not None and word not in words]  # fmt: skip
    margins = value_schema("face_detector.crop_margin")
    if crop_margin is not None and not margins["minimum"] <= crop_margin <= margins["maximum"]:
        wrong.append(f"--crop-margin {crop_margin:g}: {range_of('face_detector.crop_margin')} is needed")
    wrong += [f"--{name}: given {len(names)} times; once, or twice for TFLite and ONNX"
              for name, names in (("output", output or ()), ("map", maps or ())) if len(names) > 2]  # fmt: skip
    numbers = [int(word) if word.strip().isdecimal() else -1 for word in (geometry or "1,1,0").split(",")]
    if len(numbers) != 3 or min(numbers) < 0 or 0 in numbers[:2]:
        wrong.append(f"--geometry {geometry}: STRIDE,FIELD,PADDING in px is needed; for example --geometry 4,9,0")
    order: Literal["RGB", "BGR"] = "BGR" if channels == "BGR" else "RGB"
    cells = None if geometry is None or len(numbers) != 3 else (numbers[0], numbers[1], numbers[2])
    known = cast("OutputKind | None", kind if kind in get_args(Kinds) else None)
    outputs, rule = tuple(output or ()), cast("PoolingRule | None", pooling if pooling in POOLING_RULES else None)
    return Said(
        scaling, crop_margin, known, fake_index, outputs, tuple(maps or ()), order, method, rule, cells, tuple(wrong)
    )


def described(tflite: Path, onnx: Path, said: Said, base: LoadedContract) -> LoadedContract:
    """The contract of a pair, with what was found printed, also where something has to be said."""
    from ecdd.export.onboarding import contract_for
    from ecdd.export.said import OnboardingError

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
    method: Method = None,
    pooling: Pooling = None,
    geometry: Geometry = None,
    contract: Base = None,
    gate: Annotated[
        list[str] | None, typer.Option(help="Gates to run; may be repeated; G1 to G6 where not given.")
    ] = None,
    workers: Annotated[
        str, typer.Option("--jobs", "-n", help="Worker processes of the gates: a number, or auto.")
    ] = "0",
    as_json: AsJson = False,
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
    said = said_by(scaling, crop_margin, kind, fake_index, output, maps, channels, method, pooling, geometry)
    own = described(tflite, onnx, said, load_contract(contract))
    out.mkdir(parents=True, exist_ok=True)
    own.dump(out / "policy_contract.yaml")
    chosen = gate or ["G1", "G2", "G3", "G4", "G5", "G6"]
    code, about = _judge(tflite, onnx, data, split, out, chosen, workers, choose=method is None)
    echo(f"{time.monotonic() - started:.0f} s")
    if as_json:
        write_json({"exit_code": code, "contract": str(out / "policy_contract.yaml")} | about)
    raise typer.Exit(code)


def _judge(
    tflite: Path,
    onnx: Path,
    data: Path | None,
    split: Path | None,
    out: Path,
    gates: list[str],
    workers: str,
    *,
    choose: bool,
) -> tuple[int, dict[str, Any]]:
    """Parity of the files, then, with pictures, a bundle and its gates; exit code, and the same for a program."""
    from ecdd.commands.gates import say_end
    from ecdd.evidence.gates_run import GatesRequest, run_gates

    verdict = _parity(tflite, onnx, out)
    code, about = int(verdict != "pass"), {"parity": verdict}
    if data is None:
        echo(
            "still missing: labelled pictures; --data MANIFEST (path,label,scope,source), without them a bundle has no "
            f"calibration. The contract is {out / 'policy_contract.yaml'}"
        )
        return 1, about | {"missing": {"labelled pictures": []}}
    bundle, golden, reports = out / "bundle", out / "golden", out / "reports"
    known = _own_data(data, split, out)
    _build(tflite, onnx, known, known / SPLIT.name, out, bundle, choose=choose)
    shutil.copytree(GOLDEN, golden)
    freeze = ("--snapshot-update", "-q", "--tb=no", "--no-header", "-p", "no:warnings")
    for name, own_bundle in (("G1", None), ("G3", bundle)):
        request = GatesRequest((name,), own_bundle or bundle, None, golden, None, "0", out / "frozen", None, freeze)
        found = run_gates(request, lines_descriptor())
        if found > 1:
            raise EcddError(f"{golden}: the golden set could not be frozen with this contract; see the lines above")
        if found:
            echo(f"{name}: the file that ships does not say what the reference says; the gates say where")
    request = GatesRequest(tuple(gates), bundle, None, golden, known, workers, reports, None)
    judged = run_gates(request, lines_descriptor())
    about |= {"bundle": str(bundle), "golden": str(golden), "data": str(known)}
    if judged in {0, 1}:
        about |= say_end(request) | {"missing": _missing(reports)}
    return max(code, judged), about


def _parity(tflite: Path, onnx: Path, out: Path) -> str:
    from ecdd.commands.parity import show
    from ecdd.parity.parity_run import ParityRequest, run_parity

    request = ParityRequest(f"onnx:{onnx}", f"tflite:{tflite}", most=60, contract=out / "policy_contract.yaml")
    report = run_parity(request)
    report.write(out / "parity")
    show(report)
    return report.verdict


def _own_data(data: Path, split: Path | None, out: Path) -> Path:
    """Manifest and tags of these pictures and no others in one folder: what gates hold this bundle to.

    The tags are the given ones; else the project's own, where they know these pictures; else new ones, half of the
    faces CALIBRATION and half TEST-NEVER-TOUCH.
    """
    from ecdd.dataset_governance.build_split import build_split
    from ecdd.dataset_governance.lineage_tags import load_split, write_split
    from ecdd.dataset_governance.manifest import load_manifest, merged_text
    from ecdd.files import write_output

    folder = out / "data"
    given, tags = {row.sha256 for row in load_manifest(data)}, folder / SPLIT.name
    write_output(folder / "manifest.csv", merged_text([data], folder).encode())
    source: Path | None = split or SPLIT
    known = load_split(source).rows if source and source.is_file() else {}
    if split is not None or given <= known.keys():
        write_split([known[key] for key in given & known.keys()], tags)
    else:
        build_split(folder, tags, out / "policy_contract.yaml", train_share=0.0)
        source = None
    made = f"of {source}" if source else "made for pictures that had none; correct them where a picture was trained on"
    echo(f"{tags}: lineage tags {made}")
    return folder


def _build(tflite: Path, onnx: Path, data: Path, tags: Path, out: Path, bundle: Path, *, choose: bool) -> None:
    from ecdd.export.own_model import OwnModel, build, calibration_pictures
    from ecdd.export.shortcuts import SHORTCUTS
    from ecdd.files import read_text

    text = read_text(out / "policy_contract.yaml")
    pictures = calibration_pictures(data, tags, None)
    own = OwnModel(tflite, onnx, text, "own-model", "0.1.0", choose_method=choose)
    today = datetime.datetime.now(datetime.UTC).date()
    with progress("scoring", len(pictures)) as bar:
        _, fitted = build(own, bundle, pictures, today, bar.advance)
    shutil.copyfile(bundle / "policy_contract.yaml", out / "policy_contract.yaml")
    for line in fitted.lines:
        echo(line)
    echo(str(fitted.record.metrics[SHORTCUTS]))


def _missing(reports: Path) -> dict[str, list[str]]:
    """The shortest list of what nobody measured: each reason once, with its experiments."""
    from ecdd.evidence.merging import read_records

    reasons: dict[str, list[str]] = {}
    for key, record in read_records(reports).items():
        for entry in record.not_tested:
            delegate = entry.what.startswith("delegate ")
            reasons.setdefault("delegates of phones, on a phone" if delegate else entry.why, []).append(key)
    echo("still missing:" if reasons else "nothing is missing")
    for why, keys in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        echo(f"  {why} ({', '.join(dict.fromkeys(keys))})")
    return {why: list(dict.fromkeys(keys)) for why, keys in reasons.items()}
