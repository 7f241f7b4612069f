"""``ecdd govern check`` and ``ecdd govern tag``: lineage boundaries, and changes of tags on the record."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, write_json
from ecdd.errors import EcddError

if TYPE_CHECKING:
    from ecdd.dataset_governance.validate_lineage import Use


def check(
    *,
    data: Annotated[
        list[Path], typer.Option(help="Data manifest with the column sha256, or its folder; may be repeated.")
    ],
    split: Annotated[Path, typer.Option(help="The split that tags it.")],
    history: Annotated[
        Path | None, typer.Option(help="Its history; SPLIT.history.jsonl beside it where not given.")
    ] = None,
    reviews: Annotated[
        list[Path] | None, typer.Option(help="Review store: its pictures are AUDIT and nothing else; may be repeated.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--review-key", help="Key of the review stores: their near-duplicates are looked for too."),
    ] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Source that must be TEST-NEVER-TOUCH as a whole; may be repeated.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle whose training record and calibration pictures are held to the split.")
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="Policy contract; the default bundle's where not given.")
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="Digest that a change printed as head of its history; found where it lost lines. Repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fail where anything crosses a lineage boundary; every crossing is named with both its ends.

    Looks at pictures, near-duplicate groups, persons, held-out sources, changes of tags, and reviewed pictures. Exit
    code 1 on any crossing and where there is no history, 2 on a manifest, a split or a history that is broken.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.hash_chain import HashChain, lost_heads
    from ecdd.dataset_governance.lineage_history import history_path, read_history
    from ecdd.dataset_governance.lineage_tags import LineageError, load_split
    from ecdd.dataset_governance.manifest import load_manifests
    from ecdd.dataset_governance.manual_review import HISTORY_NAME
    from ecdd.dataset_governance.review_audit_tags import untagged
    from ecdd.dataset_governance.reviewed_copies import reviewed_copies
    from ecdd.dataset_governance.validate_lineage import check_lineage

    stores = reviews or []
    if history is not None and not history.is_file():
        raise EcddError(f"{history.name}: no such history")
    rows, tags = load_manifests(data, need_digests=True), load_split(split)
    own = history or history_path(split)
    others = [read_history(store / HISTORY_NAME) for store in stores]
    uses, problems = _of_bundle(bundle, split)
    if not own.is_file():
        problems.append(f"no {own.name}: tags that were changed before today cannot be seen; restore it from a copy")
    problems += lost_heads(head or (), [HashChain(path) for path in (own, *(store / HISTORY_NAME for store in stores))])
    if key is not None:
        policy = load_contract(contract)
        problems += [line for store in stores for line in reviewed_copies(store, key, rows, tags, policy)]
    known = read_history(own)
    problems += [line for store in stores for line in untagged(store, [known, *others])]
    try:
        check_lineage(tags, rows, known, others, hold_out or (), uses, problems)
    except LineageError as crossing:  # the answer to what was asked, not a fault of what was given
        for line in crossing.problems:
            echo(line, err=True)
        if as_json:
            write_json({"pictures": len(rows), "split": tags.digest, "crossings": crossing.problems})
        raise typer.Exit(1) from None
    if as_json:
        write_json({"pictures": len(rows), "split": tags.digest, "crossings": []})
        return
    echo(f"{len(rows)} pictures, no crossing; split {tags.digest}")
    say_heads([own])
    if stores and key is None:
        echo("review stores: by digest and group alone; give --review-key to look for near-duplicates too", err=True)


def say_heads(paths: Iterable[Path]) -> dict[str, str]:
    """Print the heads of chains of lines, on standard error: for whoever keeps them; gives them by file name."""
    from ecdd.dataset_governance.hash_chain import HashChain

    heads = {path.name: HashChain(path).digest() for path in paths}
    for name, head in heads.items():
        echo(f"head of {name}: {head}; keep it elsewhere, --head shows lost lines by it", err=True)
    return heads


def _of_bundle(path: Path | None, tags: Path) -> tuple[list[Use], list[str]]:
    """Uses that a bundle made of pictures, and where its training record differs from the split of its day."""
    from ecdd.bundle import load_bundle
    from ecdd.dataset_governance.lineage_history import split_cited
    from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag, read_table
    from ecdd.dataset_governance.validate_lineage import Use, training_differs
    from ecdd.files import read_json

    if path is None:
        return [], []
    loaded = load_bundle(path)
    scores, record = loaded.path / "calibration_scores.csv", loaded.path / "training_record.json"
    if not scores.is_file() or not record.is_file():
        raise LineageError([f"{path.name}: no calibration_scores.csv or no training_record.json to hold to the split"])
    table = read_table(scores, ("sha256",), exactly=False)
    cited = read_json(record)
    split = split_cited(tags, cited)
    digests = tuple(sorted({cells["sha256"] for _, cells in table}))
    train = tuple(row.sha256 for row in split.rows_with([LineageTag.TRAIN]))
    uses = [Use("training", train, (LineageTag.TRAIN,)), Use("calibration", digests, (LineageTag.CALIBRATION,))]
    return uses, training_differs(split, cited)


def tag(
    pictures: Annotated[list[str], typer.Argument(help="Pictures: files, or their SHA-256.")],
    *,
    split: Annotated[Path, typer.Option(help="Split to change; its history lies beside it.")],
    to: Annotated[str, typer.Option(help="New tag; only AUDIT can follow TRAIN and CALIBRATION, nothing the others.")],
    who: Annotated[str, typer.Option(help="Who changes it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: AsJson = False,
) -> None:
    """Change the tag of pictures, and of their near-duplicates and persons, with a line in the history.

    Exit code 2, and nothing changed, where the change is not allowed.
    """
    import hashlib

    from ecdd.dataset_governance.lineage_history import history_path
    from ecdd.dataset_governance.lineage_tags import LineageTag
    from ecdd.dataset_governance.retagging import retag

    if to not in LineageTag.__members__.values():
        raise EcddError(f"--to {to}: unknown, allowed are {', '.join(LineageTag)}")
    digests = []
    for given in pictures:
        path = Path(given)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else given.lower())
    moved = retag(split, digests, LineageTag(to), who, reason, datetime.datetime.now(datetime.UTC))
    for left, count in sorted(moved.items()):
        echo(f"{count} from {left} to {to}")
    heads = say_heads([history_path(split)])
    if as_json:
        write_json({"split": str(split), "to": to, "moved_from": dict(sorted(moved.items())), "heads": heads})
