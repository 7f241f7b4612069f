"""E8.2 manual review: consent comes before storage; what is stored is encrypted at rest, purged at its retention
limit, and drawn to stratified quotas (per cycle 50 false positives, 50 false negatives, 30 abstains, 20 correct);
reviewed items become AUDIT.

Kept pictures of faces are the most sensitive thing that the project can hold. Fails when anything is written without
consent or in clear, outlives its retention, exceeds its quota, or returns to training.
"""

from __future__ import annotations

import datetime
import io
import itertools
import json
import stat
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.dataset_governance import reviewed_copies as copies
from ecdd.dataset_governance.lineage_history import read_history
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageError, LineageTag, SplitRow, split_digest
from ecdd.dataset_governance.manifest import load_manifest
from ecdd.dataset_governance.manual_review import HISTORY_NAME, Consent, ReviewError, ReviewKey, ReviewStore
from ecdd.dataset_governance.review_protocol import review_protocol
from ecdd.dataset_governance.review_sealing import NONCE_BYTES
from ecdd.dataset_governance.validate_lineage import check_lineage
from ecdd.serving.app import create_app
from ecdd.serving.judging_process import Judge
from gates.support.asgi_call import LOCAL, answer_of
from gates.support.file_watch import FileWatch
from gates.support.fixtures import Bundle, Detector, Evidence, GoldenSet, LoadedContract, NotTested, PolicyContract
from gates.support.made_reviews import AGREED, START, Clock, Judged, another, judged_portraits, store_at

PIECE = 16  # bytes; a run of the picture as long as this never meets ciphertext by chance
DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)


@pytest.fixture(scope="module")
def portraits(golden: GoldenSet, policy: PolicyContract, detector: Detector) -> list[Judged]:
    return judged_portraits(golden, policy, detector, 4)


def refusal(step: Callable[[], object]) -> str:
    """Code of the error that a step ends with; empty where it goes through."""
    try:
        step()
    except ReviewError as error:
        return error.code
    return ""


def pieces_of(picture: bytes) -> list[bytes]:
    """The picture in pieces; runs of few values are no content."""
    pieces = [picture[k : k + PIECE] for k in range(0, len(picture) - PIECE, PIECE)]
    return [piece for piece in pieces if len(set(piece)) > 2]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.experiment("E8.2")
def test_no_consent_stores_nothing(
    evidence: Evidence,
    bundle: Bundle,
    contract: LoadedContract,
    portraits: list[Judged],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel reports every file made, changed or renamed, in a new store, in a used one and for temporary files."""
    refused = [
        Consent(given=False, statement="review consent 1", at=START),
        Consent(given=True, at=START),
        Consent(given=True, statement="  ", at=START),
    ]
    one, two = portraits[:2]
    for folder in ("new", "tmp"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    used = store_at(tmp_path / "used", contract, Clock())
    used.add(one.picture, one.verdict, AGREED)
    try:
        watch = FileWatch([tmp_path, *(tmp_path / f for f in ("new", "tmp", "used", "used/items"))])
    except OSError as error:
        raise NotTested("that nothing is written, also not for a moment", str(error)) from None
    stores = [store_at(tmp_path / "new" / "store", contract, Clock()), used]
    codes = [
        refusal(partial(store.add, two.picture, two.verdict, consent, label))
        for consent, store, label in itertools.product(refused, stores, (None, "real", "fake"))
    ]
    evidence.none("file_system_events_without_consent", watch.events(), n=len(codes), unit="event")
    evidence.none("stored_without_consent", [code for code in codes if code != "no_consent"], n=len(codes))
    site = create_app(Judge(bundle, contract.with_values({"serving.request_timeout": 1.0})), review=used)
    form = (LOCAL, (b"content-type", b"application/octet-stream"))
    heard = []
    for asked in ("consent=no&consent=given", "consent=given&consent=no", "cons%65nt=no&consent=given"):
        start, *_ = answer_of(site, "POST", f"/v1/review?{asked}", form, two.picture)
        heard += [] if start["status"] == 400 else [f"{asked}: {start['status']}"]
    evidence.none("consents_heard_beside_a_refusal", heard, n=3, unit="request")
    taken = []
    for asked in ("", "statement=page%20consent%201", "consent=", "consent=yes", "consent=GIVEN"):
        start, *_ = answer_of(site, "POST", f"/v1/review?{asked}", form, two.picture)
        taken += [] if start["status"] == 400 else [f"{asked or 'nothing'}: {start['status']}"]
    evidence.none("silence_taken_for_consent", taken, n=5, unit="request")
    used.add(two.picture, two.verdict, AGREED)
    evidence.check("file_system_events_with_consent", len(watch.events()), limit=1, op=">=", unit="event", n=1)
    watch.close()


@pytest.mark.experiment("E8.2")
def test_nothing_can_be_read_at_rest(
    evidence: Evidence, contract: LoadedContract, portraits: list[Judged], tmp_path: Path
) -> None:
    """No piece of a picture, no verdict, label, name or file name lies open anywhere in the store."""
    store = store_at(tmp_path / "s", contract, Clock())
    for one in portraits:
        item_id = store.add(one.picture, one.verdict, AGREED, one.label)
        if one.verdict.label == "abstain":
            store.label(item_id, one.label, "lighting", "Ann Reviewer")
    words = [b"probability", b"reason_codes", b"Ann Reviewer", b"lighting", b"review consent 1", b"known_label"]
    words += [one.name.encode() for one in portraits] + [f'"{name}"'.encode() for name in ("real", "fake", "abstain")]
    found, nonces, open_files = [], [], []
    for path in files_of(tmp_path):
        data = path.read_bytes()
        found += [f"{path.name}: {word.decode()}" for word in words if word in data]
        windows = {data[k : k + PIECE] for k in range(len(data) - PIECE)}
        found += [f"{path.name}: {one.name}" for one in portraits if not windows.isdisjoint(pieces_of(one.picture))]
        if path.suffix == ".sealed":
            line, _, rest = data.partition(b"\n")
            length = int.from_bytes(rest[:8], "big")
            nonces += [rest[8 : 8 + NONCE_BYTES], rest[8 + length : 8 + length + NONCE_BYTES]]
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                open_files.append(path.name)
            assert json.loads(line)["format"] == "ecdd review record"
    evidence.none("readable_pieces", found, n=len(files_of(tmp_path)), unit="piece")
    evidence.check("nonces_repeated", len(nonces) - len(set(nonces)), limit=0, op="==", unit="nonce", n=len(nonces))
    evidence.none("records_that_others_can_read", open_files, n=len(portraits), unit="file")
    lost = [item.id for item in store.items() if store.picture(item.id) not in {one.picture for one in portraits}]
    evidence.none("pictures_not_given_back", lost, n=len(portraits))


@pytest.mark.experiment("E8.2")
def test_whatever_was_changed_does_not_open(
    evidence: Evidence, contract: LoadedContract, portraits: list[Judged], tmp_path: Path
) -> None:
    """Flipped bits, cut ends, swapped files, swapped contents, another key: an error with a name, never content."""
    store, folder = store_at(tmp_path, contract, Clock()), tmp_path / "items"
    ids = [store.add(one.picture, one.verdict, AGREED) for one in portraits[:2]]
    first, second = (folder / f"{item_id}.sealed" for item_id in ids)
    whole, other = first.read_bytes(), second.read_bytes()
    head, tail = whole.index(b"\n") + 1, other.index(b"\n") + 1
    rng = np.random.default_rng(82)
    places = [*range(head + 8 + NONCE_BYTES), *rng.integers(0, len(whole), 200).tolist()]
    changed = {f"byte {p}": whole[:p] + bytes([whole[p] ^ (1 << (p % 8))]) + whole[p + 1 :] for p in places}
    changed |= {f"cut to {p}": whole[:p] for p in (0, 1, head, head + 8, len(whole) - 1)}
    changed |= {"another record's file": other, "another record's content": whole[:head] + other[tail:]}
    changed |= {"older": whole.replace(b'"2026', b'"2016', 1), "foreign": b"SQLite format 3\0" * 8}
    opened, unnamed = [], []
    for name, content in changed.items():
        first.write_bytes(content)
        code = refusal(lambda: store.picture(ids[0]))
        if not code:
            opened.append(name)
        elif code not in ("damaged", "wrong_key"):
            unnamed.append(f"{name}: {code}")
    evidence.none("changed_records_opened", opened, n=len(changed), unit="record")
    evidence.none("changed_records_without_a_named_error", unnamed, n=len(changed), unit="record")
    first.write_bytes(whole)
    wrong = store_at(tmp_path, contract, Clock(), ReviewKey(b"w" * 32))
    codes = [refusal(lambda: wrong.picture(ids[0])), refusal(wrong.items), refusal(wrong.status)]
    evidence.none("opened_with_a_wrong_key", [code for code in codes if code != "wrong_key"], n=len(codes))
    new = ReviewKey(b"n" * 32)
    changed_records, _ = store.rekey(new)
    again = store_at(tmp_path, contract, Clock(), new)
    intact = again.picture(ids[0]) == portraits[0].picture and again.picture(ids[1]) == portraits[1].picture
    evidence.check("records_after_a_key_change", changed_records * intact, limit=2, op="==", unit="record", n=2)
    deleted = store_at(tmp_path / "deleted", contract, Clock())
    deleted.add(portraits[0].picture, portraits[0].verdict, AGREED)
    for path in (deleted.chains[0].path, deleted.chains[0].head_path):
        path.unlink()
    codes = [refusal(deleted.items), refusal(deleted.status), refusal(deleted.purge)]
    evidence.none("deleted_trails_accepted", [code for code in codes if code != "trail_broken"], n=len(codes))


@pytest.mark.experiment("E8.2")
def test_opted_out_at_once_and_purged_in_time(
    evidence: Evidence, contract: LoadedContract, portraits: list[Judged], tmp_path: Path
) -> None:
    """A day's items of forty days, purged daily without a key; a clock that is set back purges nothing early."""
    keep = datetime.timedelta(days=contract.policy.dataset_governance.review_retention_days)
    clock, stored = Clock(), {}
    store, keyless = store_at(tmp_path, contract, clock), ReviewStore.open(tmp_path, None, contract, clock=clock)
    for day in range(40):
        clock.now = START + day * DAY
        picture, verdict = another(portraits[0].verdict, day, "abstain" if day % 2 else "fake")
        stored[store.add(picture, verdict, AGREED, "real")] = clock.now
    out = sorted(stored)[::8]
    still = [i for i in out if not keyless.opt_out(i) or i in "".join(p.name for p in files_of(tmp_path / "items"))]
    evidence.none("opted_out_still_there", still, n=len(out))
    for item_id in out:
        del stored[item_id]
    early, late, purged = [], [], set()
    ends = [START + keep + day * DAY + shift for day in range(-3, 41) for shift in (-SECOND, 0 * DAY)]
    for now in [START - 400 * DAY, *ends]:
        clock.now = now
        purged |= set(keyless.purge())
        names = {path.stem for path in files_of(tmp_path / "items")}
        early += [i for i, when in stored.items() if now - when < keep and i not in names]
        late += [i for i, when in stored.items() if now - when >= keep and i in names]
    evidence.none("purged_early", early, n=len(stored))
    evidence.none("overdue_items_left", late, n=len(stored))
    trail = [json.loads(line) for line in (tmp_path / "trail.jsonl").read_text("utf-8").splitlines()]
    lines = {entry["id"]: entry["event"] for entry in trail if entry["event"] in ("opt_out", "purged")}
    untold = [i for i in (*out, *purged) if lines.get(i) != ("opt_out" if i in out else "purged")]
    evidence.none("deletions_without_a_line", untold, n=len(out) + len(purged))
    keys = {key for entry in trail for key in entry} - {"when", "event", "id", "why", "sha256"}
    evidence.none("other_fields_in_the_trail", sorted(keys), n=len(trail), unit="field")


@pytest.mark.experiment("E8.2")
def test_strata_fill_to_their_quota_and_no_further(
    evidence: Evidence, contract: LoadedContract, portraits: list[Judged], tmp_path: Path
) -> None:
    rules = contract.policy.dataset_governance
    spec = {"false_positive": 50, "false_negative": 50, "abstain": 30, "correct": 20}
    other = [name for name in spec if rules.review_quota.get(name) != spec[name]]
    evidence.none("quotas_other_than_specified", other, n=4, unit="stratum")
    clock = Clock()
    store = store_at(tmp_path, contract, clock)
    wanted = {
        "false_positive": ("fake", "real"),
        "false_negative": ("real", "fake"),
        "abstain": ("abstain", "real"),
        "correct": ("real", None),
    }
    kept: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    number = 0
    for stratum, (label, truth) in wanted.items():
        for _ in range(rules.review_quota[stratum] + 2):
            number += 1
            picture, verdict = another(portraits[0].verdict, number, label)
            code = refusal(partial(store.add, picture, verdict, AGREED, truth))
            kept[stratum] += not code
            refused[stratum] += code == "quota_full"
    for stratum, limit in rules.review_quota.items():
        evidence.check(f"{stratum}_stored", kept[stratum], limit=limit, op="==", unit="picture", n=limit + 2)
    evidence.check("refused_and_counted", store.status().refused.get("quota_full", 0), limit=8, op="==", n=8)
    clock.now = START + rules.review_cycle_days * DAY
    code = refusal(partial(store.add, *another(portraits[0].verdict, 1000, "fake"), AGREED, "real"))
    evidence.none("refused_in_a_new_cycle", [code] if code else [], n=1)


@pytest.mark.experiment("E8.2")
def test_reviewers_see_every_stratum_and_give_two_labels(
    evidence: Evidence, contract: LoadedContract, portraits: list[Judged], tmp_path: Path
) -> None:
    clock, rules = Clock(), contract.policy.dataset_governance
    store = store_at(tmp_path, contract, clock)
    for number in range(24):
        clock.now = START + number * SECOND
        picture, verdict = another(portraits[0].verdict, number, ("fake", "fake", "real", "abstain")[number // 6])
        store.add(picture, verdict, AGREED, "real" if number < 6 else None)
    seen: list[str] = []
    while (item := store.next()) is not None and len(seen) < 8:
        seen.append(item.stratum)
        right = item.verdict.label == "real"
        store.label(item.id, "real", None if right else rules.review_failure_reasons[0], "ann")
    shares = {stratum: seen.count(stratum) for stratum in ("false_positive", "abstain", "correct")}
    evidence.check(
        "strata_seen_in_eight_reviews", sum(map(bool, shares.values())), limit=3, op="==", n=8, unit="stratum"
    )
    one = store.next()
    assert one is not None
    wrong = "real" if one.verdict.label == "fake" else "fake"
    forms = [(wrong, None, "ann"), (wrong, "because", "ann"), ("unsure", "other", "ann"), (wrong, "other", " ")]
    if one.verdict.label != "abstain":  # a reason for a failure of what was right
        forms.append((one.verdict.label, "other", "ann"))
    codes = [refusal(partial(store.label, one.id, *form)) for form in forms]
    evidence.none("bad_forms_taken", [code for code in codes if code != "bad_form"], n=len(forms), unit="form")
    text = review_protocol(contract)
    rows = [f"| {name.replace('_', ' ')} | {limit} |" for name, limit in rules.review_quota.items()]
    days = [f"{rules.review_retention_days} days", f"{rules.review_cycle_days} days"]
    reasons = [f"`{reason}`" for reason in rules.review_failure_reasons]
    said = [*rows, *reasons, *days, rules.review_encryption, contract.digest]
    evidence.none("rules_missing_in_the_protocol", [s for s in said if s not in text], n=len(said), unit="rule")


@pytest.mark.experiment("E8.2")
def test_reviewed_pictures_are_audit_and_nothing_else(
    evidence: Evidence, contract: LoadedContract, portraits: list[Judged], tmp_path: Path
) -> None:
    """By digest, and by near-duplicate: the picture itself and a re-encoded smaller copy, under every other tag."""
    key = ReviewKey.make(tmp_path / "key")
    store = store_at(tmp_path / "s", contract, Clock(), key)
    ids = [store.add(one.picture, one.verdict, AGREED, one.label) for one in portraits[:3]]
    digests = [one.verdict.file_sha256 or "" for one in portraits[:3]]
    history = read_history(tmp_path / "s" / HISTORY_NAME)
    untagged = [d[:12] for d in digests if d not in history.standing or history.standing[d].tag is not LineageTag.AUDIT]
    evidence.none("items_without_audit", untagged, n=len(ids))
    others = [tag for tag in LineageTag if tag is not LineageTag.AUDIT]
    accepted = []
    for tag in others:
        for digest in digests:
            rows = {digest: SplitRow(digest, tag, digest, "unknown", "0", "face", "s")}
            try:
                check_lineage(DataSplit(rows, split_digest(rows.values())), others=[history])
                accepted.append(f"{digest[:12]} as {tag}")
            except LineageError:
                continue
    evidence.none("reviewed_pictures_accepted", accepted, n=len(digests) * len(others))
    data = tmp_path / "data"
    data.mkdir()
    picture = Image.open(io.BytesIO(portraits[0].picture)).convert("RGB")
    picture.resize((picture.width // 2, picture.height // 2)).save(data / "copy.jpg", quality=60)
    (data / "manifest.csv").write_text("path,label,scope,source\ncopy.jpg,0,face,s\n")
    rows_of_data = load_manifest(data)
    copy = rows_of_data[0].sha256
    missed = []
    for tag in others:
        split = DataSplit({copy: SplitRow(copy, tag, copy, "unknown", "0", "face", "s")}, "")
        found = copies.reviewed_copies(tmp_path / "s", tmp_path / "key", rows_of_data, split, contract)
        if not any(digests[0][:12] in text and copy[:12] in text for text in found):
            missed.append(str(tag))
    evidence.none("reviewed_copies_accepted", missed, n=len(others), unit="tag")
