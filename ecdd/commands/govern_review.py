"""``ecdd govern review``: pictures that people agreed to show, from consent to purge."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecdd.commands.terminal import AsJson, echo, write_json
from ecdd.errors import EcddError

if TYPE_CHECKING:
    from ecdd.dataset_governance.manual_review import ReviewItem, ReviewStore
    from ecdd.dataset_governance.review_record import Label

app = typer.Typer(help="Manual review of pictures, with consent and sealed.", no_args_is_help=True)

_Store = Annotated[Path, typer.Option(help="Folder of the review store.")]
_Key = Annotated[
    Path | None,
    typer.Option("--review-key", help="Key file, mode 600; the variable ECDD_REVIEW_KEY where not given."),
]
_Contract = Annotated[Path | None, typer.Option(help="Policy contract; the default bundle's where not given.")]
_History = Annotated[
    Path | None, typer.Option(help="Lineage history that gets the AUDIT tags; STORE/lineage.jsonl where not given.")
]
_Id = Annotated[str, typer.Argument(metavar="ID", help="Item id, as `add` gave it.")]


def _open(store: Path, contract: Path | None, key: Path | None = None, history: Path | None = None) -> ReviewStore:
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.manual_review import ReviewKey, ReviewStore

    return ReviewStore.open(_existing(store), ReviewKey.read(key), load_contract(contract), history)


def _open_without_key(store: Path, contract: Path | None) -> ReviewStore:
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.manual_review import ReviewStore

    return ReviewStore.open(_existing(store), None, load_contract(contract))


def _existing(store: Path) -> Path:
    """The store, which only `add` makes: looked for under a mistyped name, every picture would seem to be gone."""
    if not store.is_dir():
        raise EcddError(f"{store}: no such folder; give the folder of a review store with --store")
    return store


def _say_heads(opened: ReviewStore) -> dict[str, str]:
    """After a change: the heads that show, kept elsewhere, whether lines were lost."""
    from ecdd.commands.govern_lineage import say_heads

    return say_heads(chain.path for chain in opened.chains if chain.path.is_file())


def _end(about: dict[str, Any], opened: ReviewStore, *, as_json: bool) -> None:
    """Answer, and name the records that cannot be opened: who sees only the others must know; exit code 1."""
    damaged = list(opened.damaged())
    if as_json:
        write_json(about | {"damaged": damaged})
    if damaged:
        for text in damaged:
            echo(text, err=True)
        echo(f"damaged: {len(damaged)} records cannot be opened; restore them from a copy", err=True)
        raise typer.Exit(1)


def _plain(item: ReviewItem | None) -> dict[str, Any]:
    if item is None:
        return {"id": None}
    verdict, label = item.verdict, {"label": item.label, "reviewed": bool(item.forms)}
    said = {"verdict": verdict.label, "probability": verdict.probability, "reason_codes": list(verdict.reason_codes)}
    return {"id": item.id, "stratum": item.stratum} | said | label


def _shown(item: ReviewItem) -> str:
    p = item.verdict.probability
    said = f"{item.verdict.label}" + ("" if p is None else f", P(fake) {p:.3f}")
    codes = f", {', '.join(item.verdict.reason_codes)}" if item.verdict.reason_codes else ""
    truth = "" if item.label is None else f"; {'reviewer' if item.forms else 'person'} says {item.label}"
    return f"{item.id} ({item.stratum}): {said}{codes}{truth}"


@app.command("make-key")
def make_key(
    path: Annotated[Path, typer.Argument(help="File to write, mode 600.")], *, as_json: AsJson = False
) -> None:
    """Make a new key; whoever loses it loses every picture sealed with it."""
    from ecdd.dataset_governance.manual_review import ReviewKey

    made = ReviewKey.make(path).id
    echo(f"key {made} in {path}: keep a copy apart from the store")
    if as_json:
        write_json({"key": str(path), "id": made})


@app.command()
def add(
    picture: Annotated[Path, typer.Argument(help="Picture to judge and store.")],
    *,
    store: _Store,
    consent: Annotated[
        str, typer.Option(help="Name and version of the text that the person agreed to; without it nothing is stored.")
    ] = "",
    known_label: Annotated[str | None, typer.Option(help="What the person says it is: real or fake.")] = None,
    key: _Key = None,
    history: _History = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle that judges; the default bundle.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a picture and store it for review, if the person agreed; prints the id, the person's receipt."""
    from ecdd.bundle import load_bundle
    from ecdd.dataset_governance.manual_review import Consent, ReviewError, ReviewKey, ReviewStore, utc_now
    from ecdd.detector import Detector
    from ecdd.pipeline.decode import read_file
    from ecdd.pipeline.reason_codes import Rejected

    label = None if known_label is None else _label(known_label)
    if not consent.strip():
        raise ReviewError("no_consent", "give --consent TEXT, the text that the person agreed to")
    loaded = load_bundle(bundle)
    opened = ReviewStore.open(store, ReviewKey.read(key), loaded.contract, history)
    try:
        data = read_file(picture, loaded.contract.policy.pixel_pipeline)
    except Rejected as rejected:
        raise ReviewError("not_reviewable", f"{picture.name}: {rejected}") from None
    verdict = Detector.load(loaded, loaded.contract).predict(data, picture.name)
    item_id = opened.add(data, verdict, Consent(given=True, statement=consent, at=utc_now()), label)
    echo(item_id)
    heads = _say_heads(opened)
    if as_json:
        write_json({"id": item_id, "verdict": verdict.label, "heads": heads})


def _label(text: str) -> Label:
    if text == "real":
        return "real"
    if text == "fake":
        return "fake"
    raise EcddError(f"label {text!r}: allowed are real and fake")


@app.command("next")
def show_next(
    *,
    store: _Store,
    out: Annotated[Path, typer.Option(help="File for the open picture, mode 600; delete it after looking.")],
    skip: Annotated[list[str] | None, typer.Option(help="Id to pass over; may be repeated.")] = None,
    key: _Key = None,
    contract: _Contract = None,
    as_json: AsJson = False,
) -> None:
    """Open the item that should be looked at next: the oldest of the stratum that was looked at least.

    Exit code 1 where records are damaged.
    """
    from ecdd.files import write_output

    opened = _open(store, contract, key)
    item = opened.next(skip or ())
    if item is None:
        echo("nothing that can be opened waits for review")
    else:
        write_output(out, opened.picture(item.id), inputs=[store], mode=0o600)
        echo(_shown(item))
    written = None if item is None else str(out)
    _end(_plain(item) | {"picture": written}, opened, as_json=as_json)


@app.command()
def label(
    item_id: _Id,
    *,
    store: _Store,
    is_: Annotated[str, typer.Option("--is", help="What the picture is: real or fake.")],
    reviewer: Annotated[str, typer.Option(help="Who looked.")],
    reason: Annotated[
        str | None, typer.Option(help="Why the verdict failed (see `protocol`); none where it is right.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="A second opinion, which then counts.")] = False,
    key: _Key = None,
    contract: _Contract = None,
    history: _History = None,
    as_json: AsJson = False,
) -> None:
    """Fill in the form of an item: what it is, and why the verdict failed."""
    truth = _label(is_)
    opened = _open(store, contract, key, history)
    item = opened.label(item_id, truth, reason, reviewer, again=again)
    echo(_shown(item))
    heads = _say_heads(opened)
    if as_json:
        write_json(_plain(item) | {"heads": heads})


@app.command()
def export(
    *,
    store: _Store,
    out: Annotated[Path, typer.Option(help="CSV to write: the forms, no picture and no digest of one.")],
    key: _Key = None,
    contract: _Contract = None,
    as_json: AsJson = False,
) -> None:
    """Write the reviewed items, up to the quota of each stratum and cycle, without any picture."""
    from ecdd.dataset_governance.review_record import write_forms

    opened = _open(store, contract, key)
    items, beyond = opened.reviewed()
    write_forms(items, out, store)
    echo(f"{len(items)} reviewed items; {beyond} beyond the quota of their stratum left out")
    _end({"forms": str(out), "items": len(items), "beyond_the_quota": beyond}, opened, as_json=as_json)


@app.command("opt-out")
def opt_out(item_id: _Id, *, store: _Store, contract: _Contract = None, as_json: AsJson = False) -> None:
    """Delete an item at once; needs no key. A line without content stays in the audit trail."""
    opened = _open_without_key(store, contract)
    gone = opened.opt_out(item_id)
    echo(f"{item_id}: deleted" if gone else f"{item_id}: nothing is stored under this id")
    heads = _say_heads(opened)
    if as_json:
        write_json({"id": item_id, "deleted": bool(gone), "heads": heads})


@app.command()
def purge(*, store: _Store, contract: _Contract = None, as_json: AsJson = False) -> None:
    """Delete what is older than the contract's review_retention_days; needs no key. Run it daily."""
    opened = _open_without_key(store, contract)
    gone = opened.purge()
    for item_id in gone:
        echo(item_id)
    echo(f"{len(gone)} items purged")
    heads = _say_heads(opened)
    if as_json:
        write_json({"purged": list(gone), "heads": heads})


@app.command()
def status(
    *,
    store: _Store,
    key: _Key = None,
    contract: _Contract = None,
    head: Annotated[
        list[str] | None, typer.Option(help="Digest that a change printed as head of trail or history. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show quotas, waiting items and what is wrong.

    Exit code 1 on records that cannot be opened, overdue ones, and lost lines.
    """
    from ecdd.dataset_governance.hash_chain import lost_heads

    opened = _open(store, contract, key)
    now, lost = opened.status(), lost_heads(head or (), opened.chains)
    echo(f"cycle {now.cycle}: {now.waiting} waiting, {now.reviewed} reviewed, {now.due} to be purged")
    for name, (stored, reviewed, quota) in now.strata.items():
        echo(f"  {name}: {stored} stored, {reviewed} reviewed, quota {quota}")
    if now.refused:
        echo("refused: " + ", ".join(f"{code} {count}" for code, count in now.refused.items()))
    heads = _say_heads(opened)
    if as_json:
        about = asdict(now) | {"clock_behind": now.clock_behind.total_seconds()}
        write_json(about | {"lost": list(lost), "heads": heads})
    if now.clock_behind > datetime.timedelta(minutes=1):
        echo(f"the clock is {now.clock_behind} behind the audit trail: nothing is purged early, but late", err=True)
    for text in (*now.damaged, *lost):
        echo(text, err=True)
    if now.damaged or now.due or lost:
        raise typer.Exit(1)


@app.command()
def rekey(
    *,
    store: _Store,
    new_key: Annotated[Path, typer.Option(help="File of the new key; make it with `make-key`.")],
    key: _Key = None,
    contract: _Contract = None,
    as_json: AsJson = False,
) -> None:
    """Seal every record anew with another key; when it was stopped, run it again with the same two keys."""
    from ecdd.dataset_governance.manual_review import ReviewKey

    opened = _open(store, contract, key)
    changed, damaged = opened.rekey(ReviewKey.read(new_key))
    echo(f"{changed} records sealed anew")
    heads = _say_heads(opened)
    if as_json:
        write_json({"sealed": changed, "damaged": list(damaged), "heads": heads})
    for text in damaged:
        echo(text, err=True)
    if damaged:
        raise typer.Exit(1)


@app.command()
def protocol(
    *,
    out: Annotated[Path | None, typer.Option(help="Markdown file; the screen where not given.")] = None,
    contract: _Contract = None,
) -> None:
    """Write the manual-review protocol, made from the contract."""
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.review_protocol import review_protocol
    from ecdd.files import write_output

    text = review_protocol(load_contract(contract))
    if out is not None:
        write_output(out, text.encode(), inputs=[] if contract is None else [contract])
    if out is None:
        echo(text, nl=False)
