"""``ecdd bundle build|verify|show``."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecdd.commands.next_steps import say_how_to_freeze
from ecdd.commands.terminal import AsJson, echo, progress, write_json
from ecdd.errors import EcddError
from ecdd.specification import SPLIT

if TYPE_CHECKING:
    from ecdd.bundle import Bundle

app = typer.Typer(help="Build, verify and show bundles.", no_args_is_help=True, add_completion=False)

BundlePath = Annotated[Path | None, typer.Argument(help="Bundle directory; the default bundle where not given.")]


@app.command()
def verify(
    path: BundlePath = None,
    key: Annotated[
        Path | None, typer.Option("--public-key", help="A bundle that its private half did not sign is then refused.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a bundle and whether its parts agree; exit code 2 where it must not be used.

    What differs is listed as extra, missing and mismatched files. With --public-key the signature must hold too.
    """
    from ecdd.bundle import load_bundle
    from ecdd.release.approving import check_released

    bundle = load_bundle(path)
    released = check_released(bundle, key)
    size = sum(entry.bytes for entry in bundle.manifest.files.values())
    if as_json:
        about = {"path": str(bundle.path), "payload_digest": bundle.payload_digest, "release": released}
        write_json(about | {"files": len(bundle.manifest.files), "bytes": size})
        return
    echo(f"{bundle.path}: good, {len(bundle.manifest.files)} files, {size} bytes")
    echo(f"payload digest {bundle.payload_digest}")
    echo(released)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="Bundle before.")],
    new: Annotated[Path, typer.Argument(help="Bundle after.")],
    *,
    as_json: AsJson = False,
) -> None:
    """List what differs between two bundles: files, and contract values; exit code 1 where anything does."""
    from ecdd.bundle import load_bundle
    from ecdd.contract.diff import diff as changes

    before, after = load_bundle(old), load_bundle(new)
    files = {
        name: (before.manifest.files.get(name), after.manifest.files.get(name))
        for name in sorted(before.manifest.files.keys() | after.manifest.files.keys())
    }
    words = {
        name: "added" if was is None else "removed" if now is None else "changed"
        for name, (was, now) in files.items()
        if was != now
    }
    values = {
        change.key: [side.contract.values.get(change.key) for side in (before, after)]
        for change in changes(before.contract, after.contract)
    }
    same = before.payload_digest == after.payload_digest
    if as_json:
        write_json({"same_payload": same, "files": words, "contract": values})
        raise typer.Exit(int(not same))
    for name, word in words.items():
        echo(f"{name}: {word}")
    for key, (was_value, now_value) in values.items():
        echo(f"contract {key}: {was_value} -> {now_value}")
    if same:
        echo(f"the same payload {before.payload_digest}")
    raise typer.Exit(int(not same))


@app.command()
def build(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; nothing may be there yet.")],
    mode: Annotated[
        str | None, typer.Option(help="quantization.mode to ship; one of the variants that --bundle holds.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--bundle", help="Bundle to begin with; the default bundle where not given.")
    ] = None,
    tflite: Annotated[Path | None, typer.Option(help="Your model, as it will ship.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="The same model in float32: the reference.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract of your model: input size, grid, operator …")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Manifest whose CALIBRATION faces are scored with your model, or its folder.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Lineage tags; golden/data_split.csv where not given.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="In place of --data: CSV of logits, in the form of calibration_scores.csv.")
    ] = None,
    small_logits: Annotated[
        bool, typer.Option("--small-logits", help="What --scores holds are logits, though all lie between 0 and 1.")
    ] = False,
    training: Annotated[Path | None, typer.Option(help="Training record (JSON) to ship beside your model.")] = None,
    architecture: Annotated[str, typer.Option(help="Name of your network, for a reader.")] = "own",
    frozen_on: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day the calibration set was frozen; today.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new bundle; the old one's, or own-model.")] = None,
    release: Annotated[str | None, typer.Option(help="Its version; the old one's, or 0.1.0.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a bundle: from your own model, or from another bundle with another mode shipped.

    With --tflite, --onnx and --contract the bundle holds your model, calibrated by the contract on --data (scored here)
    or --scores (taken as given, and said so). With --mode it ships a variant of --bundle, with that variant's own
    calibration and thresholds.

    The new bundle has digests and evidence of its own: freeze its golden outputs and run the gates on it.
    """
    if tflite is None and onnx is None and contract is None:
        if mode is None:
            raise EcddError("give --mode to ship a variant of --bundle, or --tflite, --onnx and --contract")
        made = _ship(source, mode, out, name, release)
    elif tflite is None or onnx is None or contract is None or (data is None) == (scores is None) or mode or source:
        raise EcddError(
            "your own model needs --tflite, --onnx, --contract, and one of --data and --scores to calibrate it; "
            "--mode and --bundle are for bundles that exist"
        )
    else:
        if split is not None and not split.is_file():
            raise EcddError(f"{split}: no such file; give lineage tags with --split")
        tags = split or SPLIT
        pair = _Pair(tflite, onnx, contract, data, tags, scores, training, architecture, small_logits)
        made = _build_own(pair, out, frozen_on, name or "own-model", release or "0.1.0")
    about = say_how_to_freeze(made, out)
    if as_json:
        write_json(about)


def _ship(source: Path | None, mode: str, out: Path, name: str | None, release: str | None) -> Bundle:
    from ecdd.bundle import load_bundle
    from ecdd.bundle.variants import ship

    made = ship(load_bundle(source), mode, out, name=name, release=release)
    echo(f"{out}: ships {mode}, payload digest {made.payload_digest}")
    return made


@dataclass(frozen=True)
class _Pair:
    """What a team brings, as options."""

    tflite: Path
    onnx: Path
    contract: Path
    data: Path | None
    split: Path
    scores: Path | None
    training: Path | None
    architecture: str
    small_logits: bool


def _build_own(pair: _Pair, out: Path, frozen_on: datetime.datetime | None, name: str, release: str) -> Bundle:
    from ecdd.contract.loading import load_contract
    from ecdd.export.own_model import OwnModel, build, calibration_pictures
    from ecdd.export.shortcuts import SHORTCUTS
    from ecdd.files import read_text

    day = (frozen_on or datetime.datetime.now(datetime.UTC)).date()
    load_contract(pair.contract)  # refused here, where the message can name its file and lines
    text = read_text(pair.contract)
    pictures = calibration_pictures(pair.data, pair.split, pair.scores)
    own = OwnModel(pair.tflite, pair.onnx, text, name, release, pair.architecture, pair.training, pair.small_logits)
    with progress("scoring", len(pictures)) as bar:
        made, fitted = build(own, out, pictures, day, bar.advance)
    for line in fitted.lines:
        echo(line)
    echo(str(fitted.record.metrics[SHORTCUTS]))
    if pair.training is None:
        echo("the bundle has no training record: nothing says what this model was trained on")
    echo("the bundle has no weights: what looks into them is not tested by the gates")
    echo(f"{out}: {name} {release}, payload digest {made.payload_digest}")
    return made


@app.command()
def show(path: BundlePath = None, as_json: AsJson = False) -> None:
    """Show what a bundle says of itself."""
    from ecdd.bundle import load_bundle

    bundle = load_bundle(path)
    content = {
        "path": str(bundle.path),
        "contract_digest": bundle.contract.digest,
        "contract_proposed": len(bundle.contract.proposed),
        "manifest": bundle.manifest.model_dump(mode="json"),
        "calibration": bundle.calibration.model_dump(mode="json"),
    }
    if as_json:
        write_json(content)
        return
    from ecdd.bundle.variants import modes

    manifest, calibration = bundle.manifest, bundle.calibration
    rows = [
        ("bundle", f"{manifest.name} {manifest.version}"),
        ("payload digest", manifest.payload_digest),
        ("contract digest", f"{bundle.contract.digest} ({len(bundle.contract.proposed)} values proposed)"),
        ("preprocessing digest", manifest.preprocessing_digest),
        *(
            (f"model {name}", "not stated" if value is None else str(value))
            for name, value in manifest.model.model_dump().items()
        ),
        ("variants", ", ".join(modes(bundle)[1:]) or "none"),
        ("calibration", f"{calibration.method}: logit / {calibration.temperature:g} + {calibration.bias:g}"),
        ("calibration set", f"{calibration.n_real} real, {calibration.n_fake} fake, frozen {calibration.created}"),
        ("thresholds", f"real <= {calibration.thresholds.t_real:g}, fake >= {calibration.thresholds.t_fake:g}"),
        *((f"created by {name}", version) for name, version in sorted(manifest.created_by.items())),
        *((name, f"{entry.sha256} {entry.bytes} bytes") for name, entry in manifest.files.items()),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        echo(f"{name:<{width}}  {text}")
