"""The history of tags: torn lines, full disks, changes by command, and a check that names every kind of crossing."""

from __future__ import annotations

import datetime
import hashlib
import multiprocessing
import re
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ecdd.cli import app
from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.hash_chain import ChainError, HashChain
from ecdd.dataset_governance.lineage_history import (
    ALLOWED_CHANGES,
    Change,
    append_changes,
    carried_history,
    carry,
    history_path,
    read_history,
    record_split,
)
from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag, load_split, write_split
from ecdd.dataset_governance.manual_review import ReviewKey
from ecdd.dataset_governance.retagging import retag
from gates.phase8.units.test_lineage import digest, split_of, tagged
from gates.phase8.units.test_own_split import write_pictures
from gates.support.made_reviews import AGREED, VERDICT, Clock, store_at

TRAIN, CALIBRATION, AUDIT, TEST = LineageTag
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
FORK = multiprocessing.get_context("fork")


@given(st.lists(st.sampled_from(list(LineageTag)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_history_never_holds_a_change_that_is_not_allowed(
    tmp_path_factory: pytest.TempPathFactory, tags: list[LineageTag]
) -> None:
    path = tmp_path_factory.mktemp("h") / "h.jsonl"
    now: LineageTag | None = None
    for tag in tags:
        change = Change(when=NOW, who="a", reason="r", what=("0" * 64,), from_tag=now, to_tag=tag)
        if tag in ALLOWED_CHANGES[now]:
            append_changes(path, [change])
            now = tag
        else:
            with pytest.raises(LineageError, match="must not become"):
                append_changes(path, [change])
    assert read_history(path).standing["0" * 64].tag is now


def test_a_torn_last_line_was_never_committed(tmp_path: Path) -> None:
    chain = HashChain(tmp_path / "c.jsonl")
    chain.append([{"n": 1}])
    with chain.path.open("ab") as stream:
        stream.write(b'{"n":2,"sha2')
    assert chain.read() == [{"n": 1}]
    chain.append([{"n": 3}])
    assert chain.read() == [{"n": 1}, {"n": 3}]
    chain.head_path.unlink()
    for step in (chain.read, lambda: chain.append([{"n": 4}])):
        with pytest.raises(ChainError, match="missing"):
            step()
    assert not chain.head_path.exists(), "it is not begun anew"


def _append(path: Path, first: int) -> None:
    for number in range(first, first + 10):
        HashChain(path).append([{"n": number}])


def test_processes_append_to_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    workers = [FORK.Process(target=_append, args=(path, 10 * k)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(entry["n"] for entry in HashChain(path).read()) == list(range(40))


def _append_with_a_full_disk(path: Path, limit: int, said: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        HashChain(path).append([{"n": k} for k in range(3)])
        said.put("")
    except ChainError as error:
        said.put(str(error))


def test_a_full_disk_appends_all_or_nothing(tmp_path: Path) -> None:
    chain = HashChain(tmp_path / "c.jsonl")
    chain.append([{"n": "x" * 80}])
    before = chain.path.read_bytes()
    for limit in (len(before), len(before) + 10, len(before) + 120):
        said: Any = FORK.Queue()
        child = FORK.Process(target=_append_with_a_full_disk, args=(chain.path, limit, said))
        child.start()
        assert "nothing was changed" in said.get(timeout=60)
        child.join()
        assert chain.path.read_bytes() == before
        assert len(chain.read()) == 1


def test_a_group_is_retagged_as_one_and_its_history_agrees(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    rows = [tagged("a", TRAIN, "g"), tagged("b", TRAIN, "g"), tagged("c", TRAIN, identity="ann"), tagged("t", TEST),
            tagged("d", TRAIN, identity="ann")]  # fmt: skip
    write_split(rows, file)
    assert retag(file, [digest("a")], AUDIT, "ann", "a person complained", NOW) == {TRAIN: 2}
    assert retag(file, [digest("c")], AUDIT, "ann", "a person complained", NOW) == {TRAIN: 2}
    split = load_split(file)
    assert {row.lineage for row in split.rows.values()} == {AUDIT, TEST}
    assert read_history(history_path(file)).standing[digest("b")].tag is AUDIT
    for key, to, match in (("a", TRAIN, "must not become TRAIN"), ("t", AUDIT, "must not"), ("x", AUDIT, "not in")):
        with pytest.raises(LineageError, match=match):
            retag(file, [digest(key)], to, "bob", "wants it", NOW)
    assert load_split(file) == split


def test_a_change_that_a_crash_stopped_is_finished(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    write_split([tagged("a", TRAIN), tagged("b", TEST)], file)
    before = file.read_bytes()
    retag(file, [digest("a")], AUDIT, "ann", "r", NOW)
    file.write_bytes(before)  # the history had its line, the split not yet
    retag(file, [digest("a")], AUDIT, "ann", "r", NOW)
    assert load_split(file).rows[digest("a")].lineage is AUDIT
    assert len(HashChain(history_path(file)).read()) == 3


def test_a_history_of_other_tags_refuses_the_split(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    assert record_split(split_of(tagged("a", TRAIN), tagged("b", TEST)), path, "me", NOW, ["s"]) == 2
    with pytest.raises(LineageError, match="is TRAIN in the split, but TEST-NEVER-TOUCH by"):
        record_split(split_of(tagged("b", TRAIN)), path, "me", NOW)


def test_a_new_split_goes_on_from_the_history_of_the_earlier_one(tmp_path: Path) -> None:
    old, new = (history_path(tmp_path / name) for name in ("old.csv", "new.csv"))
    carry(carried_history(new, old), new)
    assert not new.exists(), "the earlier split has no history"
    record_split(split_of(tagged("a", TRAIN)), old, "me", NOW)
    assert carried_history(new, old) == old
    assert carried_history(new, None) == new
    carry(old, new)
    assert read_history(new).standing.keys() == {digest("a")}
    record_split(split_of(tagged("a", TRAIN), tagged("b", TEST)), new, "me", NOW)
    assert carried_history(new, old) == new, "it has one of its own"
    carry(new, new)
    assert read_history(new).standing.keys() == {digest("a"), digest("b")}
    assert read_history(old).standing.keys() == {digest("a")}


def test_check_and_tag_by_command(tmp_path: Path) -> None:
    rows = [f"p{k}.png,{k % 2},face,s{k % 2},," for k in range(12)]
    data, split, run = write_pictures(tmp_path, rows), tmp_path / "split.csv", CliRunner()
    made = run.invoke(
        app, ["govern", "split", "--data", str(data), "--out", str(split), "--hold-out", "s1", "--who", "me"]
    )
    assert made.exit_code == 0, made.output
    check = ["govern", "check", "--data", str(data), "--split", str(split)]
    bare = run.invoke(app, check)
    assert bare.exit_code == 2
    assert bare.output.count("no sha256") == 12
    lines = (data / "manifest.csv").read_text().splitlines()
    digests = [hashlib.sha256((data / line.split(",")[0]).read_bytes()).hexdigest() for line in lines[1:]]
    text = [f"{lines[0]},sha256", *(f"{line},{key}" for line, key in zip(lines[1:], digests, strict=True))]
    (data / "manifest.csv").write_text("\n".join(text) + "\n")
    assert run.invoke(app, check).exit_code == 0
    train = load_split(split).rows_with([TRAIN])[0].sha256
    picture = data / lines[1 + digests.index(train)].split(",")[0]
    tag = [
        "govern",
        "tag",
        str(picture),
        "--split",
        str(split),
        "--who",
        "me",
        "--reason",
        "seen by a reviewer",
        "--to",
    ]
    assert run.invoke(app, [*tag, "AUDIT"]).exit_code == 0
    assert run.invoke(app, check).exit_code == 0
    back = run.invoke(app, [*tag, "TRAIN"])
    assert back.exit_code == 2
    assert "must not become TRAIN" in back.output
    split.write_text(split.read_text().replace(f"{train},AUDIT", f"{train},TRAIN"))
    edited = run.invoke(app, check)
    assert edited.exit_code == 1
    assert f"{train[:12]} is TRAIN in the split, but AUDIT by split.history.jsonl line" in edited.output
    assert run.invoke(app, [*check, "--history", str(tmp_path / "gone")]).exit_code == 2
    split.write_text(split.read_text().replace(f"{train},TRAIN", f"{train},AUDIT"))
    (head,) = re.findall(r"head of split.history.jsonl: ([0-9a-f]{64});", run.invoke(app, check).stderr)
    assert run.invoke(app, [*check, "--head", head]).exit_code == 0
    for suffix in (".jsonl", ".head"):
        (tmp_path / "split.history").with_suffix(".history" + suffix).unlink()
    deleted = run.invoke(app, check)
    assert (deleted.exit_code, "no split.history.jsonl" in deleted.stderr) == (1, True)
    begun = ["govern", "split", "--data", str(data), "--out", str(split), "--base", str(split)]
    assert run.invoke(app, begun).exit_code == 0
    assert run.invoke(app, check).exit_code == 0
    assert "lines were rewritten or deleted" in run.invoke(app, [*check, "--head", head]).stderr


def test_check_refuses_copies_of_reviewed_pictures_by_command(tmp_path: Path) -> None:
    """A reviewed picture whose re-encoded twin is in the data: found with the key, and only with the right one."""
    rows = [f"p{k}.png,{k % 2},face,s{k % 2},," for k in range(4)]
    data, split, run = write_pictures(tmp_path, [*rows, "p0-copy.jpg,0,face,s0,,"]), tmp_path / "split.csv", CliRunner()
    reviewed = (data / "p0-copy.jpg").read_bytes()
    (data / "p0-copy.jpg").unlink()
    keys = {row: hashlib.sha256((data / row.split(",")[0]).read_bytes()).hexdigest() for row in rows}
    text = ["path,label,scope,source,identity,lineage,sha256", *(f"{row},{key}" for row, key in keys.items())]
    (data / "manifest.csv").write_text("\n".join(text) + "\n")
    assert run.invoke(app, ["govern", "split", "--data", str(data), "--out", str(split)]).exit_code == 0
    key, wrong = tmp_path / "key", tmp_path / "wrong"
    ReviewKey.make(wrong)
    store = store_at(tmp_path / "store", load_contract(None), Clock(), ReviewKey.make(key))
    verdict = VERDICT.model_copy(update={"file_sha256": hashlib.sha256(reviewed).hexdigest()})
    item_id = store.add(reviewed, verdict, AGREED)
    check = ["govern", "check", "--data", str(data), "--split", str(split), "--reviews", str(tmp_path / "store")]
    by_digest = run.invoke(app, check)
    assert by_digest.exit_code == 0
    history = tmp_path / "store" / "lineage.jsonl"
    history.rename(tmp_path / "lineage.jsonl")
    history.with_suffix(".head").rename(tmp_path / "lineage.head")
    deleted = run.invoke(app, check)
    assert (deleted.exit_code, "1 pictures, 0 lines that tag one AUDIT" in deleted.stderr) == (1, True)
    (tmp_path / "lineage.jsonl").rename(history)
    (tmp_path / "lineage.head").rename(history.with_suffix(".head"))
    assert "give --review-key" in by_digest.output
    found = run.invoke(app, [*check, "--review-key", str(key)])
    assert found.exit_code == 1
    assert f"p0.png ({keys[rows[0]][:12]})" in found.output
    assert item_id in found.output
    refused = run.invoke(app, [*check, "--review-key", str(wrong)])
    assert refused.exit_code == 2
    assert "wrong_key" in refused.output
