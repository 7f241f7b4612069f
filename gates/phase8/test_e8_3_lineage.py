"""E8.3 lineage tags: every picture has one lineage tag, TRAIN, CALIBRATION, AUDIT or TEST-NEVER-TOUCH; an item that
crosses a boundary fails the run.

One calibration picture in training is enough to make a threshold a guess. Fails when a picture or its copy stands on
both sides, a tag changes without a record, or the history was edited.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.bundle.loading import default_bundle_path
from ecdd.dataset_governance.hash_chain import HashChain, lost_heads
from ecdd.dataset_governance.lineage_history import (
    Change,
    LineageHistory,
    append_changes,
    history_path,
    read_history,
    split_cited,
)
from ecdd.dataset_governance.lineage_tags import (
    DataSplit,
    LineageError,
    LineageTag,
    load_split,
    read_table,
    split_digest,
)
from ecdd.dataset_governance.manifest import ManifestError, ManifestRow, load_manifest
from ecdd.dataset_governance.validate_lineage import Use, check_lineage, training_differs
from ecdd.evaluation.transforms import UNTOUCHED
from gates.support.fixtures import Bundle, Evidence, LoadedContract, NotTested, PolicyContract
from gates.support.portraits import SPLIT, split_of
from gates.support.score_tables import stored_scores

TRAIN, CALIBRATION, AUDIT, TEST = LineageTag
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# changes of a tag that must be refused, whatever the code's own table says
FORBIDDEN = [(AUDIT, to) for to in (TRAIN, CALIBRATION, TEST)] + [(TEST, to) for to in (TRAIN, CALIBRATION, AUDIT)]
FORBIDDEN += [(TRAIN, CALIBRATION), (TRAIN, TEST), (CALIBRATION, TRAIN), (CALIBRATION, TEST)]


def problems_of(
    split: DataSplit,
    manifest: list[ManifestRow] | None = None,
    own: LineageHistory | None = None,
    *,
    others: Sequence[LineageHistory] = (),
    held_out: Sequence[str] = (),
    uses: Sequence[Use] = (),
) -> list[str]:
    """What `check_lineage` says against a split."""
    try:
        check_lineage(split, manifest, own, others, held_out, uses)
    except LineageError as error:
        return error.problems
    return []


def with_row(split: DataSplit, key: str, **changes: Any) -> DataSplit:
    rows = dict(split.rows) | {key: replace(split.rows[key], **changes)}
    return DataSplit(rows, split_digest(rows.values()))


def alone(split: DataSplit, tag: LineageTag) -> str:
    """A picture of a tag that is the only one of its group."""
    sizes = Counter(row.near_duplicate_group for row in split.rows.values())
    return next(row.sha256 for row in split.rows_with([tag]) if sizes[row.near_duplicate_group] == 1)


@pytest.mark.experiment("E8.3")
def test_the_split_keeps_its_boundaries(evidence: Evidence, policy: PolicyContract, data_root: Path | None) -> None:
    """Tags, groups, persons and history of the split that the project's bundle is made with."""
    split, own = load_split(SPLIT), read_history(history_path(SPLIT))
    found = problems_of(split, None, own)
    evidence.none("crossings", found, n=len(split.rows))
    other_tags = sorted(set(policy.dataset_governance.lineage_tags) ^ set(LineageTag))
    evidence.none("tags_not_of_the_contract", other_tags, n=4, unit="tag")
    untold = sorted(set(split.rows) - set(own.standing))
    evidence.none("pictures_without_a_line_in_the_history", [key[:12] for key in untold], n=len(split.rows))
    for tag, count in sorted(Counter(row.lineage for row in split.rows.values()).items()):
        evidence.measure(f"pictures_{tag}", count, "picture")
    if data_root is None:
        raise NotTested("the split against the pictures themselves", "needs --data")
    try:
        manifest = load_manifest(data_root, need_digests=True)
    except ManifestError as error:
        evidence.none("bad_manifest_rows", error.problems, n=len(error.problems))
        return
    split, given = load_split(split_of(data_root)), {row.source for row in manifest}
    rows = [row for row in split.rows.values() if row.source in given]
    if absent := sorted({row.source for row in split.rows.values()} - given):
        evidence.not_tested(f"the split against pictures of {', '.join(absent)}", "--data has no such source")
    part = DataSplit({row.sha256: row for row in rows}, split_digest(rows))
    evidence.none("pictures_that_differ_from_the_split", problems_of(part, manifest), n=len(manifest))


@pytest.mark.experiment("E8.3")
def test_the_bundle_used_what_it_may(evidence: Evidence, bundle: Bundle, contract: LoadedContract) -> None:
    """Training record, calibration pictures and score tables of the bundle, each held to its tag."""
    record_file, logits = bundle.path / "training_record.json", bundle.path / "calibration_scores.csv"
    record = json.loads(record_file.read_text("utf-8")) if record_file.is_file() else {}
    split = split_cited(SPLIT, record)
    own = bundle.path.resolve() == default_bundle_path().resolve()
    if not own and record.get("data_split_digest") != split.digest:
        raise NotTested("pictures of this bundle", f"it was not made with {SPLIT.name}")
    evidence.none("differences_of_the_training_record", training_differs(split, record), n=1, unit="difference")
    train = tuple(row.sha256 for row in split.rows_with([TRAIN]))
    fitted = tuple(cells["sha256"] for _, cells in read_table(logits, ("sha256",), exactly=False))
    uses = [Use("training", train, (TRAIN,)), Use("calibration", fitted, (CALIBRATION,))]
    stored = stored_scores(bundle, contract)
    if stored.held_out is None:
        evidence.not_tested("pictures that results are reported on", stored.why)
    else:
        measured = tuple(sorted({row["file_sha256"] for row in stored.held_out.of(UNTOUCHED)}))
        uses.append(Use("report", measured, (TEST,)))
    offenders = problems_of(split, uses=uses)
    evidence.none("pictures_used_against_their_tag", offenders, n=sum(len(use.digests) for use in uses))


def _crossings(split: DataSplit, folder: Path) -> Iterator[tuple[str, Callable[[], list[str]], tuple[str, ...]]]:
    """Name, what the check says, and the ends that it must name."""
    train, calibration, test = (alone(split, tag) for tag in (TRAIN, CALIBRATION, TEST))
    own = read_history(history_path(SPLIT))
    joined = with_row(split, train, near_duplicate_group=_group(split, test))
    yield "near-duplicate group alone", lambda: problems_of(joined), (train, test)
    persons = with_row(with_row(split, train, identity="ann"), calibration, identity="ann")
    yield "person", lambda: problems_of(persons), (train, calibration)
    retagged = with_row(split, test, lineage=TRAIN)
    yield "tag edited in the split alone", lambda: problems_of(retagged, None, own), (test, "line")
    stray = with_row(split, train, source="new")
    yield "held-out source", lambda: problems_of(stray, held_out=["new"]), (train, "new")
    held = LineageHistory("h", dict(own.standing), {"new": "line 9"})
    yield "source held out by the history", lambda: problems_of(stray, None, held), (train, "line 9")
    uses = [Use("training", (train,), (TRAIN,)), Use("calibration", (train,), (CALIBRATION,))]
    yield "calibrated on a training picture", lambda: problems_of(split, uses=uses), (train, "training", "calibration")
    audit = with_row(split, train, lineage=AUDIT)
    yield "audit picture trained on", lambda: problems_of(audit, uses=uses[:1]), (train,)
    for tag, key in ((TRAIN, train), (CALIBRATION, calibration), (TEST, test)):
        for kind in ("picture", "near-duplicate"):
            reviews = folder / f"{kind}-{tag}.jsonl"
            what = key if kind == "picture" else "ab" * 32
            line = Change(when=NOW, who="review", reason="r", what=(what,), to_tag=AUDIT, group=_group(split, key))
            append_changes(reviews, [line])
            history = [read_history(reviews)]
            yield f"reviewed {kind} in {tag}", partial(problems_of, split, others=history), (what, key, AUDIT, tag)


def _group(split: DataSplit, key: str) -> str:
    return split.rows[key].near_duplicate_group


@pytest.mark.experiment("E8.3")
def test_whatever_crosses_is_named_with_both_ends(evidence: Evidence, tmp_path: Path) -> None:
    split = load_split(SPLIT)
    accepted, unnamed, n = [], [], 0
    for name, check, ends in _crossings(split, tmp_path):
        n += 1
        text = "\n".join(check())
        if not text:
            accepted.append(name)
        elif not all(end[:12] in text for end in ends):
            unnamed.append(f"{name}: {text}")
    evidence.none("crossings_accepted", accepted, n=n, unit="crossing")
    evidence.none("crossings_without_both_ends", unnamed, n=n, unit="crossing")


@pytest.mark.experiment("E8.3")
def test_tags_change_only_as_allowed(evidence: Evidence, tmp_path: Path) -> None:
    """Asked for, and written into a history past the code that asks."""
    key, asked, written = "cd" * 32, [], []
    for before, after in FORBIDDEN:
        path = tmp_path / f"{before}-{after}.jsonl"
        append_changes(path, [Change(when=NOW, who="a", reason="first", what=(key,), to_tag=before)])
        change = Change(when=NOW, who="b", reason="again", what=(key,), from_tag=before, to_tag=after)
        try:
            append_changes(path, [change])
            asked.append(f"{before} to {after}")
        except LineageError:
            HashChain(path).append([change.model_dump(mode="json", by_alias=True)])
        if not read_history(path).problems:
            written.append(f"{before} to {after}")
    evidence.none("forbidden_changes_appended", asked, n=len(FORBIDDEN), unit="change")
    evidence.none("forbidden_changes_not_seen", written, n=len(FORBIDDEN), unit="change")


@pytest.mark.experiment("E8.3")
def test_a_history_cannot_be_edited(evidence: Evidence, tmp_path: Path) -> None:
    """Every line changed, removed, exchanged; every end cut off; single bytes flipped anywhere."""
    path = tmp_path / "h.jsonl"
    for k in range(12):
        append_changes(path, [Change(when=NOW, who="a", reason=f"line {k}", what=(f"{k:064x}",), to_tag=TRAIN)])
    whole = path.read_bytes()
    head = HashChain(path).head_path.read_bytes()
    lines = whole.splitlines(keepends=True)
    edits = {f"line {k + 1} gone": b"".join(lines[:k] + lines[k + 1 :]) for k in range(12)}
    edits |= {f"cut after line {k}": b"".join(lines[:k]) for k in range(12)}
    for k in range(11):
        edits[f"lines {k + 1} and {k + 2} exchanged"] = b"".join([*lines[:k], lines[k + 1], lines[k], *lines[k + 2 :]])
    rng = np.random.default_rng(83)
    for place, bit in zip(rng.integers(0, len(whole), 400), rng.integers(0, 8, 400), strict=True):
        edits[f"bit {bit} of byte {place}"] = whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :]
    accepted = []
    for name, content in edits.items():
        path.write_bytes(content)
        try:
            read_history(path)
            accepted.append(name)
        except LineageError:
            continue
    evidence.none("edits_accepted", accepted, n=len(edits), unit="edit")
    path.write_bytes(whole)
    kept = HashChain(path).links()
    grown = [Change(when=NOW, who="a", reason="line 13", what=(f"{12:064x}",), to_tag=TRAIN)]
    append_changes(path, grown)
    evidence.none("heads_of_a_grown_history_lost", lost_heads(kept, [HashChain(path)]), n=len(kept), unit="head")
    path.write_bytes(whole)
    HashChain(path).head_path.write_bytes(head)
    others = []
    for name in ("begun anew", "deleted"):  # both files: nothing but what was kept elsewhere can show it
        other = HashChain(tmp_path / name / "h.jsonl")
        if name == "begun anew":
            append_changes(other.path, grown)
        others += [] if len(lost_heads(kept, [other])) == len(kept) else [name]
    evidence.none("other_histories_accepted", others, n=2, unit="history")
    evidence.check("lines_of_the_history_read", len(HashChain(path).read()), limit=12, op="==", unit="line", n=12)
