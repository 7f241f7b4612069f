"""``ecdd bundle build|verify|show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Build, verify and show bundles.", no_args_is_help=True, add_completion=False)

BundlePath = Annotated[Path | None, typer.Argument(help="Bundle directory; the default bundle where not given.")]


@app.command()
def verify(
    path: BundlePath = None,
    key: Annotated[Path | None, typer.Option(help="Public key; a bundle that it did not sign is then refused.")] = None,
) -> None:
    """Check every byte of a bundle and whether its parts agree; exit code 1 where it must not be used.

    What differs is listed as extra, missing and mismatched files. With --key the signature must hold too.
    """
    from ecdd.bundle import BundleError, load_bundle
    from ecdd.release.approving import ReleaseError, check_released
    from ecdd.release.signing import SigningError

    try:
        bundle = load_bundle(path)
        released = check_released(bundle, key)
    except (BundleError, ReleaseError, SigningError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    size = sum(entry.bytes for entry in bundle.manifest.files.values())
    typer.echo(f"{bundle.path}: good, {len(bundle.manifest.files)} files, {size} bytes")
    typer.echo(f"payload digest {bundle.payload_digest}")
    typer.echo(released)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="Bundle before.")],
    new: Annotated[Path, typer.Argument(help="Bundle after.")],
) -> None:
    """List what differs between two bundles: files, and contract values; exit code 1 where anything does."""
    from ecdd.bundle import BundleError, load_bundle
    from ecdd.contract.diff import diff as changes

    try:
        before, after = load_bundle(old), load_bundle(new)
    except BundleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    files = {
        name: (before.manifest.files.get(name), after.manifest.files.get(name))
        for name in sorted(before.manifest.files.keys() | after.manifest.files.keys())
    }
    for name, (was, now) in files.items():
        if was != now:
            typer.echo(f"{name}: {'added' if was is None else 'removed' if now is None else 'changed'}")
    for change in changes(before.contract, after.contract):
        was_value, now_value = (side.contract.values.get(change.key) for side in (before, after))
        typer.echo(f"contract {change.key}: {was_value} -> {now_value}")
    if before.payload_digest == after.payload_digest:
        typer.echo(f"the same payload {before.payload_digest}")
    raise typer.Exit(int(before.payload_digest != after.payload_digest))


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; nothing may be there yet.")],
    mode: Annotated[str, typer.Option(help="quantization.mode to ship; one of the variants that the bundle holds.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="Bundle to begin with; the default bundle where not given.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new bundle; the old one's.")] = None,
    release: Annotated[str | None, typer.Option(help="Its version; the old one's.")] = None,
) -> None:
    """Make a bundle that ships another mode: its model, its own calibration and thresholds, and the contract's mode.

    The new bundle has digests and evidence of its own: freeze its golden outputs and run the gates on it.
    """
    from ecdd.bundle import BundleError, load_bundle
    from ecdd.bundle.variants import ship

    try:
        made = ship(load_bundle(source), mode, out, name=name, release=release)
    except (BundleError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{out}: ships {mode}, payload digest {made.payload_digest}")
    typer.echo(f"next: pytest gates/g1 gates/g3 --bundle {out} --snapshot-update, then pytest gates --bundle {out}")


@app.command()
def show(path: BundlePath = None, as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False) -> None:
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
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    from ecdd.bundle.variants import modes

    manifest, calibration = bundle.manifest, bundle.calibration
    rows = [
        ("bundle", f"{manifest.name} {manifest.version}"),
        ("payload digest", manifest.payload_digest),
        ("contract digest", f"{bundle.contract.digest} ({len(bundle.contract.proposed)} values proposed)"),
        ("preprocessing digest", manifest.preprocessing_digest),
        *((f"model {name}", str(value)) for name, value in manifest.model.model_dump().items()),
        ("variants", ", ".join(modes(bundle)[1:]) or "none"),
        ("calibration", f"{calibration.method}: logit / {calibration.temperature:g} + {calibration.bias:g}"),
        ("calibration set", f"{calibration.n_real} real, {calibration.n_fake} fake, frozen {calibration.created}"),
        ("thresholds", f"real <= {calibration.thresholds.t_real:g}, fake >= {calibration.thresholds.t_fake:g}"),
        *((f"created by {name}", version) for name, version in sorted(manifest.created_by.items())),
        *((name, f"{entry.sha256} {entry.bytes} bytes") for name, entry in manifest.files.items()),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        typer.echo(f"{name:<{width}}  {text}")
