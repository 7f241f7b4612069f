"""Manual review under stress: several processes, a kill in the middle, a full disk, keys, and its command line."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import re
import resource
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ecdd.cli import app
from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.hash_chain import ChainError, lost_heads
from ecdd.dataset_governance.lineage_history import Change, append_changes, read_history
from ecdd.dataset_governance.lineage_tags import LineageTag
from ecdd.dataset_governance.manual_review import Consent, ReviewError, ReviewKey, ReviewStore
from ecdd.dataset_governance.review_quota import cycle_of, most_needed, quota_left, within_quota
from ecdd.dataset_governance.review_record import ReviewForm, ReviewItem, checked_form, stratum_of
from ecdd.golden.golden_sets import GoldenSet
from gates.support.made_reviews import AGREED, START, VERDICT, Clock, another, store_at

CONTRACT = load_contract(None)
FORK = multiprocessing.get_context("fork")


def code_of(step: Any) -> str:
    with pytest.raises(ReviewError) as caught:
        step()
    return caught.value.code


def fill(folder: Path, first: int, count: int) -> None:
    store = store_at(folder, CONTRACT, Clock())
    for number in range(first, first + count):
        store.add(*another(VERDICT, number, "fake"), AGREED, "real")


def test_several_processes_store_every_item_once_and_never_beyond_the_quota(tmp_path: Path) -> None:
    workers = [FORK.Process(target=fill, args=(tmp_path, 100 * k, 8)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    store = store_at(tmp_path, CONTRACT, Clock())
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len({item.sha256 for item in store.items()}) == 32
    assert len(read_history(tmp_path / "lineage.jsonl").standing) == 32


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_kill_in_the_middle_leaves_whole_records_or_none(tmp_path: Path, after: float) -> None:
    worker = FORK.Process(target=fill, args=(tmp_path, 0, 40))
    worker.start()
    while not (tmp_path / "items").is_dir() and worker.is_alive():
        time.sleep(0.001)
    time.sleep(after)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    store = store_at(tmp_path, CONTRACT, Clock())
    items = store.items()
    for item in items:
        assert store.picture(item.id).startswith(b"picture ")
    assert not list((tmp_path / "items").glob(".*"))
    assert {item.sha256 for item in items} <= set(read_history(tmp_path / "lineage.jsonl").standing)
    assert not store.status().damaged
    store.add(*another(VERDICT, 1000, "fake"), AGREED, "real")


@pytest.mark.parametrize("event", ["opt_out", "purged"])
def test_a_deletion_that_a_crash_stopped_is_finished(
    tmp_path: Path, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(tmp_path, CONTRACT, clock := Clock())
    item_id = store.add(*another(VERDICT, 1, "fake"), AGREED)
    clock.now = START + datetime.timedelta(days=90)
    monkeypatch.setattr("ecdd.dataset_governance.review_store.ReviewFolder.erase", lambda *_: os._exit(1))
    child = FORK.Process(target=lambda: store.opt_out(item_id) if event == "opt_out" else store.purge())
    child.start()
    child.join()
    assert (tmp_path / "items" / f"{item_id}.sealed").is_file()
    monkeypatch.undo()
    assert store.items() == []
    assert not (tmp_path / "items" / f"{item_id}.sealed").exists()


def _add_with_a_full_disk(folder: Path, limit: int, said: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    picture, verdict = another(VERDICT, 7, "fake")
    try:
        store_at(folder, CONTRACT, Clock()).add(picture, verdict, AGREED)
        said.put("")
    except ReviewError as error:
        said.put(error.code)


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path, CONTRACT, Clock())
    kept = [store.add(*another(VERDICT, number, "fake"), AGREED) for number in range(3)]
    refused = 0
    for limit in range(0, 1600, 100):  # bytes a file may have: the record, the history or the trail hits it first
        said: Any = FORK.Queue()
        child = FORK.Process(target=_add_with_a_full_disk, args=(tmp_path, limit, said))
        child.start()
        code = said.get(timeout=60)
        child.join()
        if not code:
            break
        assert code == "disk"
        refused += 1
        assert sorted(item.id for item in store.items()) == sorted(kept)
        assert all(store.picture(item_id) for item_id in kept)
    assert refused > 3
    assert not store.status().damaged


def test_pictures_that_are_not_taken(tmp_path: Path) -> None:
    store = store_at(tmp_path / "s", CONTRACT, Clock())
    picture, verdict = another(VERDICT, 1, "fake")
    assert code_of(lambda: store.add(b"other", verdict, AGREED)) == "bad_item"
    assert code_of(lambda: store.add(b"", verdict, AGREED)) == "bad_item"
    rejected = verdict.model_copy(update={"outcome": "rejected", "label": "abstain"})
    assert code_of(lambda: store.add(picture, rejected, AGREED)) == "not_reviewable"
    assert not (tmp_path / "s").exists()
    keyless = ReviewStore.open(tmp_path / "s", None, CONTRACT)
    assert code_of(lambda: keyless.add(picture, verdict, AGREED)) == "bad_key"
    assert code_of(store.items) == "unknown_item"
    store.add(picture, verdict, AGREED)
    assert code_of(lambda: store.add(picture, verdict, AGREED)) == "already_stored"
    assert code_of(lambda: store.opt_out("../../key")) == "unknown_item"
    assert store.opt_out("0" * 32) is False
    assert store.items()[0].verdict.path == ""
    picture, verdict = another(VERDICT, 2, "fake")
    digest = verdict.file_sha256 or ""
    append_changes(tmp_path / "s" / "lineage.jsonl",
                   [Change(when=START, who="a", reason="r", what=(digest,), to_tag=LineageTag.TRAIN)])  # fmt: skip
    assert code_of(lambda: store.add(picture, verdict, AGREED)) == "known_to_the_data"


def test_an_edited_trail_is_refused_and_a_clock_set_back_is_said(tmp_path: Path) -> None:
    store = store_at(tmp_path, CONTRACT, clock := Clock())
    for number in range(3):
        store.add(*another(VERDICT, number, "fake"), AGREED)
    clock.now = START - datetime.timedelta(days=500)
    assert store.status().clock_behind == datetime.timedelta(days=500)
    late = store.add(*another(VERDICT, 9, "fake"), AGREED)
    assert {item.id: item.stored for item in store.items()}[late] == START
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:-1]))
    for step in (store.purge, store.items, lambda: store.opt_out(late)):
        assert code_of(step) == "trail_broken"


def test_a_trail_that_was_deleted_or_emptied_is_no_new_one(tmp_path: Path) -> None:
    store = store_at(tmp_path, CONTRACT, Clock())
    for number in range(3):
        store.add(*another(VERDICT, number, "fake"), AGREED)
    trail, history = store.chains
    kept = [trail.digest(), history.digest()]
    store.add(*another(VERDICT, 3, "fake"), AGREED)
    assert lost_heads(kept, store.chains) == [], "chains grow"
    whole, head = trail.path.read_bytes(), trail.head_path.read_bytes()
    for path in (trail.path, trail.head_path):
        path.unlink()
    assert code_of(store.items) == "trail_broken"
    assert not trail.path.exists(), "it is not begun anew"
    trail.path.write_bytes(b"")
    assert code_of(store.items) == "trail_broken"
    trail.head_path.write_text('{"lines":0,"sha256":""}\n')
    assert code_of(store.status) == "trail_broken", "records without a line, more than a crash leaves"
    trail.path.write_bytes(whole)
    trail.head_path.write_bytes(head)
    assert len(store.items()) == 4
    trail.path.unlink()
    trail.head_path.unlink()
    trail.append(
        [{"when": "2026-01-01T12:00:00Z", "event": "stored", "id": item, "why": ""} for item in _ids(tmp_path)]
    )
    assert len(store.items()) == 4, "a forged trail fits"
    assert len(lost_heads(kept, store.chains)) == 1, "but for the head that was kept elsewhere"
    with pytest.raises(ChainError, match="--head"):
        lost_heads(["nonsense"], store.chains)


def _ids(store: Path) -> list[str]:
    return sorted(path.stem for path in (store / "items").iterdir())


def test_keys_are_refused_unless_private_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    key = ReviewKey.make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ReviewKey.read(path).id == key.id
    assert code_of(lambda: ReviewKey.make(path)) == "bad_key"
    monkeypatch.setenv("ECDD_REVIEW_KEY", path.read_text())
    assert ReviewKey.read().id == key.id
    path.chmod(0o640)
    assert code_of(lambda: ReviewKey.read(path)) == "bad_key"
    for text in ("", "not base64!", "c2hvcnQ="):
        monkeypatch.setenv("ECDD_REVIEW_KEY", text)
        assert code_of(ReviewKey.read) == "bad_key"


def test_a_key_change_that_was_stopped_goes_on(tmp_path: Path) -> None:
    store = store_at(tmp_path, CONTRACT, Clock())
    ids = [store.add(*another(VERDICT, number, "fake"), AGREED) for number in range(4)]
    old, new = ReviewKey(b"k" * 32), ReviewKey(b"n" * 32)
    store.rekey(new)
    whole = (tmp_path / "items" / f"{ids[0]}.sealed").read_bytes()
    store.rekey(old)
    (tmp_path / "items" / f"{ids[0]}.sealed").write_bytes(whole)  # as if the first change had stopped here
    assert code_of(store.items) == "wrong_key"
    assert store.rekey(new) == (3, [])
    assert len(store_at(tmp_path, CONTRACT, Clock(), new).items()) == 4


labels = st.sampled_from(["real", "fake", "abstain"])
truths = st.sampled_from(["real", "fake", None])
moments = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC))  # noqa: DTZ001


def test_cycles_are_counted_from_1970() -> None:
    """Stored items keep their cycle from version to version."""
    day = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
    assert cycle_of(day, 30) == (day.date() - datetime.date(1970, 1, 1)).days // 30 == 692


@settings(deadline=None, derandomize=True)
@given(moments, st.integers(1, 365))
def test_cycles_follow_each_other(moment: datetime.datetime, days: int) -> None:
    span = datetime.timedelta(days=days)
    assert cycle_of(moment + span, days) == cycle_of(moment, days) + 1
    assert cycle_of(moment + span - datetime.timedelta(microseconds=1), days) <= cycle_of(moment, days) + 1


@settings(deadline=None, derandomize=True)
@given(labels, truths)
def test_a_stratum_is_an_error_only_where_someone_said_so(label: str, truth: Any) -> None:
    stratum = stratum_of(label, truth)
    assert (stratum == "abstain") == (label == "abstain")
    if stratum in ("false_positive", "false_negative"):
        assert truth not in (None, label)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(labels, truths, truths, st.integers(0, 70)), max_size=40))
def test_samples_and_quotas_hold_for_any_items(drawn: list[tuple[Any, Any, Any, int]]) -> None:
    rules = CONTRACT.policy.dataset_governance
    small = rules.model_copy(update={"review_quota": dict.fromkeys(rules.review_quota, 2)})
    items = []
    for number, (label, known, said, day) in enumerate(drawn):
        at = START + datetime.timedelta(days=day)
        forms = (ReviewForm(label=said, failure_reason=None, reviewer="a", at=at),) if said else ()
        items.append(ReviewItem(id=f"{number:032x}", stored=at, sha256="0" * 64, verdict=VERDICT.model_copy(
            update={"label": label}), consent=AGREED, known_label=known, forms=forms))  # fmt: skip
    kept, beyond = within_quota(items, small)
    assert len(kept) + beyond == sum(bool(item.forms) for item in items)
    for cycle in {cycle_of(item.stored, 30) for item in items}:
        assert min(quota_left(kept, small.review_quota, cycle, 30).values()) >= 0


def reviewed(number: int, label: Any, *said: Any) -> ReviewItem:
    """An item that was called ``label``, with a form a word of reviewers."""
    forms = tuple(ReviewForm(label=word, failure_reason=None, reviewer="a", at=START) for word in said)
    return ReviewItem(id=f"{number:032x}", stored=START, sha256="0" * 64, consent=AGREED, known_label=None, forms=forms,
                      verdict=VERDICT.model_copy(update={"label": label}))  # fmt: skip


def test_the_stratum_with_the_least_of_its_quota_is_looked_at_next() -> None:
    """Two of ten are less than one of two, though they are more items."""
    rules = CONTRACT.policy.dataset_governance
    rules = rules.model_copy(update={"review_quota": rules.review_quota | {"correct": 10, "abstain": 2}})
    done = [reviewed(0, "fake", "fake"), reviewed(1, "fake", "fake"), reviewed(2, "abstain", "real")]
    waiting = [reviewed(3, "abstain"), reviewed(4, "fake")]
    assert most_needed([*done, *waiting], rules) == waiting[1]
    assert most_needed([*done, *waiting], rules, skip={waiting[1].id}) == waiting[0]
    assert most_needed(done, rules) is None


def test_a_reviewer_has_a_name_of_1_to_200_characters() -> None:
    item = reviewed(0, "fake")
    for name in ("A", " A ", "A" * 200):
        assert checked_form(item, "fake", None, name, START, ()).reviewer == name.strip()
    for name in ("", "  ", "A" * 201):
        assert code_of(lambda name=name: checked_form(item, "fake", None, name, START, ())) == "bad_form"


def test_the_command_line_from_key_to_opt_out(tmp_path: Path, golden: GoldenSet) -> None:
    run, key, store = CliRunner(), tmp_path / "key", tmp_path / "store"
    picture = next(item.path for item in golden.items if item.set == "in_scope")
    review = ["govern", "review"]
    assert run.invoke(app, [*review, "make-key", str(key)]).exit_code == 0
    common = ["--store", str(store), "--review-key", str(key)]
    refused = run.invoke(app, [*review, "add", str(picture), *common])
    assert refused.exit_code == 2
    assert "no_consent" in refused.output
    assert not store.exists()
    item_id = run.invoke(app, [*review, "add", str(picture), *common, "--consent", "text 1"]).stdout.strip()
    out = tmp_path / "open"
    assert item_id in run.invoke(app, [*review, "next", *common, "--out", str(out)]).stdout
    assert out.read_bytes() == Path(picture).read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    verdict = store_at(store, CONTRACT, Clock(), ReviewKey.read(key)).items()[0].verdict.label
    truth = "real" if verdict == "fake" else "fake"
    form = [*review, "label", item_id, *common, "--is", truth, "--reviewer", "ann"]
    assert run.invoke(app, form).exit_code == 2
    assert run.invoke(app, [*form, "--reason", "blur"]).exit_code == 0
    assert run.invoke(app, [*review, "export", *common, "--out", str(tmp_path / "forms.csv")]).exit_code == 0
    assert "blur" in (tmp_path / "forms.csv").read_text()
    status = run.invoke(app, [*review, "status", *common])
    assert status.exit_code == 0
    heads = re.findall(r"head of \S+: ([0-9a-f]{64});", status.stderr)
    assert len(heads) == 2
    again = run.invoke(app, [*review, "status", *common, "--head", heads[0], "--head", heads[1]])
    assert (again.exit_code, "deleted" in again.stderr) == (0, False)
    lost = run.invoke(app, [*review, "status", *common, "--head", "0" * 64])
    assert (lost.exit_code, "lines were rewritten or deleted" in lost.stderr) == (1, True)
    record = store / "items" / f"{item_id}.sealed"
    sealed = record.read_bytes()
    record.write_bytes(sealed[: sealed.index(b"\n") + 20])
    for step in (["next", "--out", str(out)], ["export", "--out", str(tmp_path / "left.csv")], ["status"]):
        done = run.invoke(app, [*review, *step, *common])
        assert (done.exit_code, "damaged" in done.stderr) == (1, True), step
    record.write_bytes(sealed)
    assert run.invoke(app, [*review, "purge", "--store", str(store)]).stdout == "0 items purged\n"
    assert "deleted" in run.invoke(app, [*review, "opt-out", item_id, "--store", str(store)]).stdout
    wrong = run.invoke(app, [*review, "status", "--store", str(store), "--review-key", str(tmp_path / "none")])
    assert wrong.exit_code == 2
    assert "Traceback" not in wrong.output
    assert run.invoke(app, [*review, "protocol", "--out", str(tmp_path / "p.md")]).exit_code == 0


def test_consent_that_was_not_given_makes_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path / "s", CONTRACT, Clock())
    consent = Consent(given=False, at=START)
    assert code_of(lambda: store.add(*another(VERDICT, 1, "fake"), consent)) == "no_consent"
    assert list(tmp_path.iterdir()) == []
