"""The table search against the comparison of all pairs, and the folder of kept hashes."""

from __future__ import annotations

import operator
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ecdd.cli import app
from ecdd.contract.loading import load_contract
from ecdd.dataset_governance import near_pairs as search
from ecdd.dataset_governance import picture_hashes, spreading
from ecdd.dataset_governance.near_pairs import _Tables, distances_of, near_pairs, pack
from ecdd.dataset_governance.picture_hashes import UnreadableError, Work, hashes_of
from ecdd.dataset_governance.spreading import spread
from gates.phase8.units.test_leakage_scan import drawn
from gates.phase8.units.test_own_split import write_pictures
from gates.support.made_hashes import symmetric

POLICY = load_contract().policy


@pytest.mark.parametrize("running", [False, True])
def test_tasks_of_a_cluster_come_back_in_order_and_a_dead_worker_as_nothing(
    running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for Ray: the second chunk's worker dies, its items are done one by one by who is left."""
    said: list[str] = []

    class WorkerCrashedError(Exception):
        """As Ray's."""

    def get(chunk: list[int]) -> list[int]:
        if 3 in chunk and len(chunk) > 1:
            raise WorkerCrashedError
        return [-item for item in chunk]

    ray = SimpleNamespace(
        is_initialized=lambda: running,
        init=lambda **_: said.append("init"),
        shutdown=lambda: said.append("shutdown"),
        remote=lambda **_: lambda _: SimpleNamespace(remote=lambda _, chunk: chunk),
        get=get,
        exceptions=SimpleNamespace(WorkerCrashedError=WorkerCrashedError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    with spreading._ray(operator.neg, 2) as results_of:
        assert list(results_of([[1, 2], [3, 4], [5]])) == [[-1, -2], None, [-5]]
    assert said == ([] if running else ["init", "shutdown"])


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
@settings(max_examples=25, deadline=None)
def test_tables_find_what_all_pairs_find(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (n, 16, 16)).astype(bool)
    for place in range(n // 2, n):  # a turned or mirrored neighbour of an earlier one
        flipped = bits[rng.integers(0, n // 2)] ^ (rng.random((16, 16)) < rng.uniform(0, 0.15))
        mirrored = flipped ^ (np.arange(16) % 2 == 1) if rng.integers(2) else flipped
        bits[place] = mirrored.T if rng.integers(2) else mirrored
    codes = symmetric(bits)
    exact, found = near_pairs(codes, 16, 36), near_pairs(codes, 16, 36, exact_up_to=0)
    assert [part.tolist() for part in exact] == [part.tolist() for part in found]


def test_every_pair_is_compared_up_to_4096_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[str] = []
    nothing = SimpleNamespace(candidates=lambda *_: np.zeros((0, 2), np.int64))
    monkeypatch.setattr(search, "_every_pair", lambda _: ways.append("every pair") or [])
    monkeypatch.setattr(search, "_Tables", lambda *_: ways.append("tables") or nothing)
    for n in (4096, 4097):
        near_pairs(np.zeros((n, 8, 4), np.uint64), 16, 36)
    assert ways == ["every pair", "tables"]


def test_tables_are_keyed_by_bits_that_split() -> None:
    """A bit that all hashes share would put them into one row of a table; what a mirror flips splits once turned."""
    bits = np.random.default_rng(2).integers(0, 2, (400, 16, 16)).astype(bool)
    bits[:, 0, :8], bits[:, 8:, 8] = True, False
    useful = _Tables(symmetric(bits), 16, 36, 0)._useful
    row, column = np.mgrid[0:16, 0:16]
    shared = (row == 0) & (column < 8) | (row >= 8) & (column == 8)
    transposed = shared.T  # hashes stand beside their transposed forms, of which these bits are shared
    flips = (column % 2 == 1) | (row % 2 == 1)
    assert set(useful) == set(np.flatnonzero(~(shared & transposed) | flips))


def test_no_picture_and_one_picture_have_no_pair() -> None:
    for n in (0, 1):
        pairs, distances = near_pairs(symmetric(np.zeros((n, 16, 16), bool)), 16, 36)
        assert (pairs.shape, len(distances)) == ((0, 2), 0)


def test_identical_hashes_are_chained_however_many() -> None:
    codes = symmetric(np.repeat(np.random.default_rng(0).integers(0, 2, (1, 16, 16)).astype(bool), 500, axis=0))
    pairs, distances = near_pairs(codes, 16, 36, exact_up_to=0, tables=4)
    reached = {0}
    for first, second in pairs.tolist():
        if reached & {first, second}:
            reached |= {first, second}
    assert (len(reached), set(distances.tolist())) == (500, {0})


def test_distance_is_the_smallest_over_the_symmetries() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (2, 16, 16)).astype(bool)
    bits[1] = bits[0].T
    bits[1, 3, 4] ^= True
    assert distances_of(symmetric(bits), np.array([[0, 1]])).tolist() == [1]
    assert pack(np.ones((2, 70), bool)).tolist() == [[2**64 - 1, 63]] * 2


def files_in(folder: Path, n: int) -> list[tuple[str, Path]]:
    for seed in range(n):
        drawn(seed, 90, 70).save(folder / f"{seed}.png")
    return [(f"key {seed}", folder / f"{seed}.png") for seed in range(n)]


def test_kept_hashes_are_read_again_and_a_stopped_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, work = files_in(tmp_path, 5), Work(kept=tmp_path / "kept")
    monkeypatch.setattr(picture_hashes, "SHARD", 2)
    (tmp_path / "4.png").write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"4\.png"):
        hashes_of(files, POLICY.pixel_pipeline, 16, work)
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 2
    for seed in range(4):
        (tmp_path / f"{seed}.png").unlink()  # never read again
    drawn(4, 90, 70).save(tmp_path / "4.png")
    went_on = hashes_of(files, POLICY.pixel_pipeline, 16, work)
    assert np.array_equal(went_on, hashes_of(files_in(tmp_path, 5), POLICY.pixel_pipeline, 16, Work()))
    assert not np.array_equal(went_on.shape, hashes_of(files, POLICY.pixel_pipeline, 8, work).shape)
    next((tmp_path / "kept").glob("*.npz")).write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(UnreadableError, match="remove it"):
        hashes_of(files, POLICY.pixel_pipeline, 16, work)


def _ends_on_two(item: int) -> int:
    if item == 2:
        os._exit(3)
    return item * 10


@pytest.mark.parametrize(("jobs", "items"), [(1, 3), (2, 1), (1, 1), (1, 0)])
def test_what_one_process_can_do_is_done_here(jobs: int, items: int) -> None:
    found = list(spread(_process_of, list(range(items)), lambda _: -1, jobs=jobs))
    assert found == [os.getpid()] * items


def _process_of(_item: int) -> int:
    return os.getpid()


def test_a_process_that_dies_takes_only_its_item() -> None:
    assert list(spread(_ends_on_two, range(4), lambda item: -item, jobs=2)) == [0, 10, -2, 30]


def test_processes_give_every_result_in_the_order_of_the_items() -> None:
    """However many items: they are sent in pieces."""
    assert list(spread(operator.neg, range(1, 21), lambda _: 0, jobs=2)) == [-item for item in range(1, 21)]


def test_command_groups_splits_and_names_a_crossing(tmp_path: Path) -> None:
    rows = [f"p{k}.png,{k % 2},face,s,," for k in range(6)] + ["p0-copy.jpg,0,face,s,,"]
    data, groups = write_pictures(tmp_path, rows), tmp_path / "groups.csv"
    run = CliRunner().invoke
    clean = run(app, ["govern", "scan", "--data", str(data), "--out", str(groups)])
    assert (clean.exit_code, "7 pictures in 6 groups" in clean.output) == (0, True), clean.output
    both = [["--groups", str(groups)], []]
    texts = []
    for k, options in enumerate(both):
        done = run(app, ["govern", "split", "--data", str(data), "--out", str(tmp_path / f"{k}.csv"), *options])
        assert done.exit_code == 0, done.output
        texts.append((tmp_path / f"{k}.csv").read_text())
    assert texts[0] == texts[1]
    torn = [*rows[1:6], "p0.png,0,face,s,,TRAIN", "p0-copy.jpg,0,face,s,,TEST-NEVER-TOUCH"]
    crossing = run(app, ["govern", "scan", "--data", str(write_pictures(tmp_path, torn))])
    assert (crossing.exit_code, "p0.png in TRAIN" in crossing.output) == (1, True), crossing.output
    (tmp_path / "p3.png").write_bytes(b"no picture")
    broken = run(app, ["govern", "scan", "--data", str(data), "--out", str(tmp_path / "none.csv")])
    assert (broken.exit_code, "p3.png" in broken.output, (tmp_path / "none.csv").exists()) == (2, True, False)
    groups.write_text("sha256,near_duplicate_group,hash_group,path\n")
    write_pictures(tmp_path, rows)
    stale = run(
        app, ["govern", "split", "--data", str(data), "--out", str(tmp_path / "s.csv"), "--groups", str(groups)]
    )
    assert (stale.exit_code, "scan again" in stale.output) == (2, True)
