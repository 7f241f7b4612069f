"""``ecdd release``: whether a bundle may ship, from evidence alone."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecdd.commands.terminal import AsJson, echo, write_json
from ecdd.errors import EcddError

if TYPE_CHECKING:
    from ecdd.bundle import Bundle
    from ecdd.release.approval import Decision


def release(  # noqa: PLR0917 - options of the command line
    bundle: Annotated[Path | None, typer.Argument(help="Bundle; the default bundle where not given.")] = None,
    records: Annotated[
        list[Path] | None, typer.Option(help="Folder of a run; may be repeated; by default the bundle's own run.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key that signs; see --make-keys.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Release without a signature, and say so.")] = False,
    waivers: Annotated[Path | None, typer.Option(help="YAML list of waivers: id, reason, owner, expiry.")] = None,
    as_of: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day for expiries; today.")
    ] = None,
    evidence_key: Annotated[
        Path | None,
        typer.Option(help="Public key of who ran the gates, see ecdd gates --attest; without it: self-attested."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Release for the claims alone, and say so in the title.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and write nothing.")] = False,
    make_keys: Annotated[
        Path | None, typer.Option(help="Write a new key pair NAME.pem and NAME.pub.pem, and stop.")
    ] = None,
    named: Annotated[Path | None, typer.Option("--bundle", help="Bundle; the same as BUNDLE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approve a bundle and sign it, or refuse it with every reason; exit code 1 on refusal.

    Every claimed experiment needs a complete and passing record for exactly this payload and this contract, of clean
    runs of this version's specification. A release that does not speak of all experiments is partial, one without the
    signature of who ran the gates is self-attested; both stand in its title.
    """
    from ecdd.bundle import load_bundle
    from ecdd.evidence.attestation import load_public, same_key
    from ecdd.release.approval import decide
    from ecdd.release.approving import release as write_release
    from ecdd.release.waivers import load_waivers

    if make_keys is not None:
        pair = _make_keys(make_keys)
        if as_json:
            write_json({"private": str(pair[0]), "public": str(pair[1])})
        return
    if not dry_run and (key is None) != unsigned:
        raise EcddError("give --key FILE to sign, or --unsigned to release without a signature")
    day = as_of.date() if as_of is not None else datetime.datetime.now(datetime.UTC).date()
    if bundle is not None and named is not None:
        raise EcddError(f"{bundle} and --bundle {named}: name the bundle once")
    loaded = load_bundle(bundle or named)
    if key is not None and evidence_key is not None and same_key(key, evidence_key):
        raise EcddError(f"--evidence-key {evidence_key} is the pair of --key {key}: who releases may not attest")
    asked = load_waivers(waivers) if waivers is not None else []
    if evidence_key is not None:
        load_public(evidence_key)
    folders = records or [_own_run(loaded, bundle or named)]
    decision = decide(loaded, folders, asked, day, evidence_key=evidence_key, partial=partial)
    if as_json:
        write_json(plain(loaded, decision))
    else:
        say(loaded, decision)
    if not decision.approved:
        raise typer.Exit(1)
    if not dry_run:
        write_release(loaded, decision, key)
    if unsigned and not dry_run:
        echo("UNSIGNED: nobody can tell whether this bundle was changed after this approval", err=True)


def _own_run(bundle: Bundle, named: Path | None) -> Path:
    """Where `ecdd gates` writes the bundle's run from this folder."""
    folder = Path("reports") / "runs" / bundle.payload_digest[:16]
    if not (folder / "index.json").is_file():
        option = "" if named is None else f" --bundle {named}"
        raise EcddError(
            f"{folder}: no run of this bundle; run `ecdd gates{option}` first, or give a run's folder with --records"
        )
    return folder


def plain(bundle: Bundle, decision: Decision) -> dict[str, Any]:
    """A decision as JSON values."""
    return {
        "approved": decision.approved,
        "title": decision.title,
        "payload_digest": bundle.payload_digest,
        "reasons": list(decision.reasons),
        "supported": list(decision.supported),
        "not_claimed": list(decision.not_claimed),
        "never_tested_on": list(decision.never_tested_on),
        "looser": [list(one) for one in decision.looser],
    }


def say(bundle: Bundle, decision: Decision, most: int | None = None) -> None:
    """Print a decision, and every reason against the release or the first ones."""
    reasons, named = decision.reasons, f"{bundle.manifest.name} {bundle.manifest.version}"
    echo(f"claims supported by evidence of this payload and contract: {len(decision.supported)}")
    echo(f"never tested on: {'; '.join(decision.never_tested_on)}")
    echo(f"not claimed: {'; '.join(decision.not_claimed)}")
    for limit, value, shipped in decision.looser:
        echo(f"looser than the shipped limit: {limit} {value}, shipped {shipped}")
    for reason in reasons[:most]:
        echo(f"  - {reason}")
    if most is not None and len(reasons) > most:
        echo(f"  - and {len(reasons) - most} more; ecdd release --dry-run --records FOLDER names them all")
    if reasons:
        echo(f"RELEASE REFUSED for {len(reasons)} reason{'s' if len(reasons) > 1 else ''}")
    else:
        echo(f"{decision.title.upper()}: {named}, payload {bundle.payload_digest}")


def _make_keys(name: Path) -> tuple[Path, Path]:
    from ecdd.release.signing import make_keys as write_keys

    private, public = name.with_name(f"{name.name}.pem"), name.with_name(f"{name.name}.pub.pem")
    write_keys(private, public)
    echo(f"{private}: keep it secret; {public}: give it to whoever verifies")
    return private, public
