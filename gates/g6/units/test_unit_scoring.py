"""Scoring: every row is there, whatever happens to its picture, to the run or to a worker."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ecdd.bundle.loading import load_bundle
from ecdd.dataset_governance.manifest import ManifestError
from ecdd.evaluation import scoring
from ecdd.evaluation.manifest_stream import Selection
from ecdd.evaluation.score_table import ScoreTable, ScoreTableError, is_parquet, read_table
from ecdd.evaluation.scoring import Request, score
from ecdd.files import OutputError
from gates.support.command_calls import call

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
ROOT = GOLDEN.parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Golden pictures, one file that is no picture, one that is cut, one that is missing, one whose digest is wrong."""
    return write_data(tmp_path / "data", faces=4, others=2)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with fewer golden pictures, of which all transforms are scored."""
    return write_data(tmp_path_factory.mktemp("few") / "data", faces=1, others=1)


@pytest.fixture(scope="module")
def whole(few: Path, tmp_path_factory: pytest.TempPathFactory) -> ScoreTable:
    """What one process that nobody disturbs writes of them."""
    out = tmp_path_factory.mktemp("whole") / "scores.parquet"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scoring, "SHARD_ROWS", 7)
        score(request_of(few, transforms=True), out)
    return read_table(out)


def write_data(folder: Path, faces: int, others: int) -> Path:
    folder.mkdir()
    rows = []
    for path in sorted((GOLDEN / "in_scope").iterdir())[:faces] + sorted((GOLDEN / "out_of_scope").iterdir())[:others]:
        shutil.copy(path, folder / path.name)
        scope = "face" if path.parent.name == "in_scope" else "ood"
        label = "" if scope == "ood" else str(int(path.name.startswith("fake")))
        rows.append([path.name, label, scope, "golden", "2019" if label == "0" else "", ""])
    (folder / "text.jpg").write_text("no picture")
    whole = (folder / rows[0][0]).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    rows += [["text.jpg", "0", "face", "made", "", ""], ["cut.jpg", "1", "face", "made", "", ""]]
    rows += [["missing.jpg", "0", "face", "made", "", ""], [rows[1][0], "1", "face", "made", "", "0" * 64]]
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "label", "scope", "source", "year", "sha256"])
        writer.writerows(rows)
    return folder


def request_of(data: Path, **options: Any) -> Request:
    return Request(data, load_bundle("tiny"), **options)


def test_every_row_has_an_outcome_of_its_own(data: Path, tmp_path: Path) -> None:
    plan = score(request_of(data), tmp_path / "scores.parquet")
    table = read_table(tmp_path / "scores.parquet")
    assert [row["outcome"] for row in table.rows] == ["scored"] * 6 + ["rejected", "rejected", "missing", "changed"]
    assert plan.n_expected == 10
    assert [row["index"] for row in table.rows] == list(range(10))
    assert all(row["verdict"] == "abstain" and row["probability"] is None for row in table.rows[6:])
    assert not (tmp_path / "scores.parquet.shards").exists()


def test_two_processes_give_the_same_rows(
    few: Path, whole: ScoreTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "SHARD_ROWS", 7)
    score(request_of(few, transforms=True), tmp_path / "two.parquet", jobs=2)
    assert read_table(tmp_path / "two.parquet") == whole
    assert len(whole.rows) == 6 * len(whole.plan.transforms)


def test_a_run_that_was_killed_goes_on(
    few: Path, whole: ScoreTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after the first shards: what they hold is kept, and the table equals that of a run without a stop."""
    out = tmp_path / "scores.parquet"
    code = "from ecdd.evaluation import scoring; scoring.SHARD_ROWS = 7; from ecdd.cli import main; main()"
    arguments = [str(few), "--transforms", "--bundle", "tiny", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        [sys.executable, "-c", code, "score", *arguments], env=environment, stderr=subprocess.DEVNULL
    )
    shards, deadline = tmp_path / "scores.parquet.shards", time.monotonic() + 60
    while len(list(shards.glob("*.jsonl"))) < 2:
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists()
    kept = list(shards.glob("*.jsonl"))
    assert len(kept) >= 2
    monkeypatch.setattr(scoring, "SHARD_ROWS", 7)
    resumed = call("score", arguments)
    assert resumed.exit_code == 0, resumed.output
    assert f"{6 * 17} rows" in resumed.stdout
    assert read_table(out) == whole


def test_progress_counts_rows(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every shard, and never more than there are."""
    monkeypatch.setattr(scoring, "SHARD_ROWS", 5)
    said: list[tuple[int, int]] = []
    expected = score(request_of(data), tmp_path / "scores.parquet", progress=lambda *at: said.append(at)).n_expected
    assert said == [(min(5 * k, expected), expected) for k in range(1, -(-expected // 5) + 1)]


def test_finished_shards_are_not_scored_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is changed in a finished shard stays as it is: the shard was read, not made again."""
    monkeypatch.setattr(scoring, "SHARD_ROWS", 5)
    request, out = request_of(data), tmp_path / "scores.parquet"
    really = scoring.write_table
    monkeypatch.setattr(scoring, "write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        score(request, out)
    first = tmp_path / "scores.parquet.shards" / "00000000.jsonl"
    first.write_text(first.read_text().replace('"detail": ""', '"detail": "kept"'))
    monkeypatch.setattr(scoring, "write_table", really)
    score(request, out)
    assert {row["detail"] for row in read_table(out).rows[:5]} == {"kept"}


def test_only_a_score_table_is_written_over(data: Path, tmp_path: Path) -> None:
    """A picture of the manifest or the manifest itself is a likely slip; beside a device no shards fit."""
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    for path in before:
        with pytest.raises(ScoreTableError, match="is no score table"):
            score(request_of(data), path)
    for device in ("/dev/stdout", "/dev/null"):
        with pytest.raises(OutputError, match="is no file"):
            score(request_of(data), Path(device))
    assert {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()} == before


def test_shards_of_something_else_are_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "scores.parquet"
    monkeypatch.setattr(scoring, "write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        score(request_of(data), out)
    monkeypatch.undo()
    with pytest.raises(ScoreTableError, match="shards of another"):
        score(request_of(data, selection=Selection({}, None), transforms=True), out)


def test_a_worker_that_is_killed_costs_its_own_picture_only(data: Path, tmp_path: Path) -> None:
    """A worker that ends without a word on one picture: that row is an error, the others are as ever."""
    code = (
        "import os; from ecdd.evaluation import scoring; really = scoring.score_one\n"
        "def dies(detector, task, root):\n"
        "    if task.listed.index == 3: os.kill(os.getpid(), 9)\n"
        "    return really(detector, task, root)\n"
        "scoring.score_one = dies\n"
        "from ecdd.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "score", str(data), "--jobs", "2", "--bundle", "tiny"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--out", str(tmp_path / "dies")], env=environment, capture_output=True, check=True)
    score(request_of(data), tmp_path / "lives")
    dead, alive = read_table(tmp_path / "dies").rows, read_table(tmp_path / "lives").rows
    assert [row["index"] for row, other in zip(dead, alive, strict=True) if row != other] == [3]
    assert (dead[3]["outcome"], dead[3]["reason_codes"], dead[3]["probability"]) == ("error", "SY-001", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg,2,face,x", "label '2'"),
        ("a.jpg,0,cat,x", "scope 'cat'"),
        ("a.jpg,,face,x", "needs a label"),
        ("a.jpg,0,face", "not as many cells"),
        ("a.jpg,0,face,", "no source"),
    ],
)
def test_a_wrong_row_is_refused_before_anything_is_scored(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"path,label,scope,source\n{line}\n")
    with pytest.raises(ManifestError, match=message):
        score(request_of(tmp_path), tmp_path / "scores.parquet")
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.parametrize(("wrong", "more"), [(19, False), (20, True), (25, True)])
def test_reading_ends_at_the_twentieth_wrong_row(tmp_path: Path, wrong: int, more: bool) -> None:
    (tmp_path / "manifest.csv").write_text("path,label,scope,source\n" + "a.jpg,2,face,x\n" * wrong)
    with pytest.raises(ManifestError) as caught:
        score(request_of(tmp_path), tmp_path / "scores.parquet")
    said = [f"manifest.csv:{line}: label '2', allowed are 0 (real), 1 (fake) and empty" for line in range(2, wrong + 2)]
    assert list(caught.value.problems) == [*said[:20], *(["… and perhaps more"] if more else [])]


def test_lineage_selects_rows(data: Path, tmp_path: Path) -> None:
    text = (data / "manifest.csv").read_text().splitlines()
    tagged = [f"{line},{tag}" for line, tag in zip(text, ["lineage"] + ["AUDIT", "TRAIN"] * 5, strict=True)]
    (data / "manifest.csv").write_text("\n".join(tagged) + "\n")
    score(request_of(data, selection=Selection({}, frozenset({"AUDIT"}))), tmp_path / "scores.parquet")
    table = read_table(tmp_path / "scores.parquet")
    assert {row["lineage"] for row in table.rows} == {"AUDIT"}
    assert len(table.rows) == 5


def test_ray_gives_the_same_rows(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `scale` is not installed")
    score(request_of(data), tmp_path / "local.parquet")
    code = "from ecdd.cli import main; main()"  # a process of its own: a cluster is started and stopped
    command = [sys.executable, "-c", code, "score", str(data), "--engine", "ray", "--jobs", "2", "--bundle", "tiny"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "ray.parquet")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_table(tmp_path / "local.parquet") == read_table(tmp_path / "ray.parquet")


@pytest.mark.parametrize(
    ("content", "whether"), [(b"PAR1", True), (b"PAR1 and more", True), (b"PAR", False), (b" PAR1", False)]
)
def test_what_begins_as_parquet_does(content: bytes, whether: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert is_parquet(tmp_path / "file") is whether
