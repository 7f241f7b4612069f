"""Many files and the command line: order, names, workers that die, exit codes, files written whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from ecdd.batch import Settings, find_files, judge_all
from ecdd.cli import app
from gates.support.drawn_pictures import FAKE, bad_files, contract, portrait

ONE, TWO = portrait(1), portrait(2, faces=2)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def override(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contract") / "contract.yaml"
    contract(FAKE).dump(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    (place / "b").mkdir(parents=True)
    (place / ".hidden").mkdir()
    for name, content in {
        "c.jpg": ONE,
        "a.jpg": TWO,
        "b/z.jpg": ONE,
        "b/a.jpg": b"damaged",
        ".secret.jpg": ONE,
        ".hidden/x.jpg": ONE,
        "notes.txt": b"words",
    }.items():
        (place / name).write_bytes(content)
    return place


def predict(*arguments: str | Path, override: Path) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--bundle", "tiny", "--contract", str(override)])


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def names(found: list[dict[str, Any]]) -> list[str]:
    return [Path(line["path"]).name for line in found]


def process(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "ecdd", *map(str, arguments)], capture_output=True, check=False)


def test_folders_are_walked_in_order_and_hidden_files_counted(folder: Path) -> None:
    files, hidden = find_files([folder / "c.jpg", folder, folder / "missing.jpg"])
    found = [path.relative_to(folder).as_posix() for path in files]
    assert found == ["c.jpg", "a.jpg", "c.jpg", "notes.txt", "b/a.jpg", "b/z.jpg", "missing.jpg"]
    assert hidden == 2, "a file and a folder"
    assert find_files([folder / ".secret.jpg"])[0] == [folder / ".secret.jpg"], "named by the user: not left out"


def test_every_file_is_one_line(folder: Path, override: Path) -> None:
    result = predict(folder, "--json", override=override)
    assert result.exit_code == 0
    found = lines(result.stdout)
    assert names(found) == ["a.jpg", "c.jpg", "notes.txt", "a.jpg", "z.jpg"]
    assert [line["label"] for line in found] == ["fake", "fake", "abstain", "abstain", "fake"]
    assert "5 files: 3 fake; 2 unreadable; 2 hidden" in result.stderr
    assert "2 hidden files or folders left out" in result.stderr


def test_text_for_a_person_keeps_one_line_a_file(tmp_path: Path, override: Path) -> None:
    odd = tmp_path / "two\nlines \x1b[31m.jpg"
    odd.write_bytes(ONE)
    result = predict(odd, override=override)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert "\x1b" not in result.stdout
    assert result.stdout.startswith("fake")


def test_bad_files_of_every_kind_through_the_command(tmp_path: Path, override: Path) -> None:
    made = bad_files(tmp_path)
    paths = [path for name, (path, _) in sorted(made.items()) if name not in {"folder.jpg", "missing.jpg"}]
    result = predict(*paths, "--json", override=override)
    assert result.exit_code == 0
    for line in lines(result.stdout):
        assert made[Path(line["path"]).name][1] in line["reason_codes"]
        assert line["probability"] is None


def test_strict_tells_by_the_exit_code(tmp_path: Path, override: Path) -> None:
    good, bad, plain = tmp_path / "good.jpg", tmp_path / "bad.jpg", bad_files(tmp_path)["plain.jpg"][0]
    good.write_bytes(ONE)
    bad.write_bytes(ONE[:900])
    assert predict(good, "--strict", override=override).exit_code == 0
    assert predict(good, plain, "--strict", override=override).exit_code == 0, "no face is no unreadable file"
    assert predict(good, bad, override=override).exit_code == 0
    assert predict(good, bad, "--strict", override=override).exit_code == 1
    assert predict(tmp_path / "missing.jpg", override=override).exit_code == 2, "a wrong call, not a bad picture"


def test_names_that_are_no_text_are_valid_json(tmp_path: Path, override: Path) -> None:
    place = tmp_path / "names"
    place.mkdir()
    for name in (b"caf\xe9.jpg", b"\xff\xfe.jpg", "日本.jpg".encode()):
        (place / os.fsdecode(name)).write_bytes(ONE)
    (place / os.fsdecode(b"bad\xc3.jpg")).write_bytes(b"damaged")
    out = tmp_path / "out.jsonl"
    done = process("predict", place, "--json", "--out", out, "--bundle", "tiny", "--contract", override, "--jobs", "2")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.isascii()
    found = lines(done.stdout.decode("ascii"))
    assert sorted(names(found)) == sorted([r"bad\xc3.jpg", r"caf\xe9.jpg", "日本.jpg", r"\xff\xfe.jpg"])
    assert lines(out.read_text("utf-8")) == found


def test_out_is_written_whole_or_not_at_all(
    folder: Path, tmp_path: Path, override: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("the old one\n")

    def stop_at_the_third(files: Any, settings: Settings, jobs: int) -> Any:
        for index, line in enumerate(judge_all(files, settings, jobs)):
            if index == 2:
                raise KeyboardInterrupt
            yield line

    with monkeypatch.context() as patch:
        patch.setattr("ecdd.batch.judge_all", stop_at_the_third)
        assert predict(folder, "--out", out, override=override).exit_code != 0
    assert out.read_text() == "the old one\n"
    assert predict(folder, "--out", out, override=override).exit_code == 0
    assert names(lines(out.read_text())) == ["a.jpg", "c.jpg", "notes.txt", "a.jpg", "z.jpg"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out.jsonl"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_decoder_without_evidence_is_said_once(
    folder: Path, override: Path, monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    monkeypatch.setattr("ecdd.detector.decoder_fingerprint", lambda: {"pillow": "0.0.1"})
    done = predict(folder, "--jobs", jobs, "--json", override=override)
    assert done.stderr.count("warning: no evidence covers this decoder: pillow 0.0.1, frozen with") == 1
    for line in lines(done.stdout):
        assert line["warnings"][0].startswith("no evidence covers this decoder: pillow 0.0.1")


def test_wrong_calls_say_what_is_wrong(tmp_path: Path, override: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(ONE)
    (tmp_path / "bundle").mkdir()
    broken = tmp_path / "broken.yaml"
    broken.write_text(override.read_text().replace("max_faces:", "max_face:"))
    cases: tuple[tuple[list[str | Path], str], ...] = (
        (["--bundle", tmp_path / "bundle"], "manifest.json"),
        (["--contract", broken], "max_face"),
        (["--out", tmp_path / "no" / "such.jsonl"], "such.jsonl"),
    )
    for arguments, needed in cases:
        done = CliRunner().invoke(app, ["predict", str(picture), *map(str, arguments)])
        assert done.exit_code == 2, done.stderr
        assert needed in done.stderr
        assert "Traceback" not in done.stderr
    assert CliRunner().invoke(app, ["predict"]).exit_code == 2


def test_a_heatmap_is_drawn_for_each_judged_picture(folder: Path, tmp_path: Path, override: Path) -> None:
    result = predict(folder, "--json", "--heatmap", tmp_path / "maps", override=override)
    found = lines(result.stdout)
    drawn = [line["heatmap"] for line in found if line["heatmap"]]
    assert [bool(line["heatmap"]) for line in found] == [line["probability"] is not None for line in found]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in drawn)


def comparable(text: bytes) -> list[dict[str, Any]]:
    found = lines(text.decode("ascii"))
    for line in found:
        line.pop("milliseconds", None)
    return found


def test_two_jobs_give_the_lines_of_one(folder: Path, override: Path) -> None:
    one = predict(folder, "--json", override=override)
    two = process("predict", folder, "--json", "--bundle", "tiny", "--contract", override, "--jobs", "2")
    assert (one.exit_code, two.returncode) == (0, 0), two.stderr.decode()
    assert comparable(one.stdout_bytes) == comparable(two.stdout)
    assert len(comparable(two.stdout)) == 5


KILLED = """
    import json, os, signal, sys
    from pathlib import Path
    from ecdd.batch import Settings, judge_all
    from ecdd.bundle import load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.detector import Detector

    examine = Detector.examine

    def killed(self, source, name=None):
        if source.name == "03.jpg":
            os.kill(os.getpid(), signal.SIGKILL)
        return examine(self, source, name)

    if __name__ == "__main__":
        Detector.examine = killed
        folder, jobs = Path(sys.argv[1]), int(sys.argv[3])
        settings = Settings(load_bundle("tiny"), load_contract(sys.argv[2]))
        for line in judge_all(sorted(folder.iterdir()), settings, jobs):
            print(json.dumps(line), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the first workers must be forked to carry the planted death")
@pytest.mark.parametrize("jobs", [2, 3])
def test_a_killed_worker_costs_its_picture_and_no_other(tmp_path: Path, override: Path, jobs: int) -> None:
    place, script = tmp_path / "pictures", tmp_path / "killed.py"
    place.mkdir()
    script.write_text(textwrap.dedent(KILLED))
    for index in range(8):
        (place / f"{index:02d}.jpg").write_bytes(ONE)
    done = subprocess.run(
        [sys.executable, script, place, override, str(jobs)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = lines(done.stdout.decode())
    assert names(found) == [f"{index:02d}.jpg" for index in range(8)]
    dead = found.pop(3)
    assert (dead["label"], dead["outcome"], dead["reason_codes"]) == ("abstain", "error", ["SY-001"])
    assert dead["probability"] is None
    assert "-9" in dead["detail"]
    assert {line["label"] for line in found} == {"fake"}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the workers through the process table")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_command(tmp_path: Path, override: Path, by: signal.Signals) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    for index in range(400):
        (place / f"{index:03d}.jpg").write_bytes(ONE)
    command = subprocess.Popen(
        [sys.executable, "-m", "ecdd", "predict", place, "--jobs", "2", "--bundle", "tiny", "--contract", override],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert command.stdout is not None
    command.stdout.readline()  # the workers are at work
    workers = psutil.Process(command.pid).children()
    assert len(workers) == 2
    if by is signal.SIGINT:
        os.killpg(command.pid, by)  # as a terminal does: the command and its workers
    else:
        command.kill()
    _, errors = command.communicate(timeout=30)
    assert b"Traceback" not in errors
    end = time.monotonic() + 20
    while time.monotonic() < end and any(worker.is_running() and worker.status() != "zombie" for worker in workers):
        time.sleep(0.05)
    assert not [worker for worker in workers if worker.is_running() and worker.status() != "zombie"]
