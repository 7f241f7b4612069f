"""The command line as a person and a program meet it: names, groups, what is said where, old names, next steps."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ecdd import cli
from ecdd.bundle import load_bundle
from ecdd.commands import next_steps
from ecdd.commands.renamed import RENAMED
from ecdd.evidence import gates_run
from gates.support.command_calls import CALLS, ROOT, call, every_command
from gates.support.drawn_pictures import FAKE, contract, portrait

ONE = portrait(1)
TINY = load_bundle("tiny")


@pytest.fixture(scope="module")
def override(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contract") / "contract.yaml"
    contract(FAKE).dump(path)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(ONE)
    return path


def predict(*words: str | Path, override: Path, given: bytes | None = None) -> Any:
    return CliRunner().invoke(
        cli.app, ["predict", *map(str, words), "--contract", str(override), "--bundle", "tiny"], input=given
    )


def test_help_has_groups_and_every_command_is_in_one() -> None:
    said = CliRunner().invoke(cli.app, ["--help"]).stdout
    panels = ["Judge pictures", "Bring a model", "Gates and release", "Operate", "Workshop"]
    places = [said.index(f" {panel} ") for panel in panels]
    assert places == sorted(places)
    assert list(dict.fromkeys(entry.panel for entry in cli.COMMANDS.values())) == panels
    for name in cli.COMMANDS:
        assert re.search(rf"^│ {name} ", said, re.MULTILINE), name
    assert {name.split()[0] for name in CALLS} == set(cli.COMMANDS)


@pytest.mark.parametrize(("typed", "meant"), [("pedict", "predict"), ("gate", "gates"), ("calibarte", "calibrate")])
def test_did_you_mean(typed: str, meant: str) -> None:
    said = CliRunner().invoke(cli.app, [typed])
    assert said.exit_code == 2
    assert f"Did you mean '{meant}'" in said.stderr


def test_shell_completion_can_be_had() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ecdd", "--show-completion", "bash"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "complete" in shown.stdout
    asked = {**os.environ, "_ECDD_COMPLETE": "complete_bash", "COMP_WORDS": "ecdd pre", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['ecdd']; from ecdd.cli import main; main()"
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=asked
    )
    assert "predict" in completed.stdout.split(), completed.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["missing.jpg"], "missing.jpg: no such file or folder"),
        (["https://example.org/a.jpg"], "https://example.org/a.jpg: an address; nothing is fetched"),
        (["empty"], "empty: a folder without any file"),
        (["full", "--glob", "*.png"], "full: a folder without any file that matches *.png"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_runs(
    words: list[str], named: str, tmp_path: Path, override: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").write_bytes(ONE)
    (tmp_path / "good.jpg").write_bytes(ONE)
    monkeypatch.setattr("ecdd.batch.judge_all", lambda *_: pytest.fail("a picture was judged"))
    said = predict("good.jpg", *words, "--out", "out.jsonl", "--heatmap", "maps", override=override)
    assert said.exit_code == 2
    assert named in said.stderr
    assert said.stdout == ""
    assert not {"out.jsonl", "maps"} & {path.name for path in tmp_path.iterdir()}


def test_all_wrong_paths_are_one_message(override: Path) -> None:
    said = predict("one.jpg", "two.jpg", "ftp://x/y", override=override)
    assert said.exit_code == 2
    assert [line.split(":")[0] for line in said.stderr.splitlines()] == ["ecdd", "two.jpg", "ftp"]


def test_glob_chooses_files_of_folders(tmp_path: Path, override: Path) -> None:
    place = tmp_path / "pictures"
    (place / "b").mkdir(parents=True)
    for name in ("a.jpg", "b/c.jpg", "notes.txt", "d.png"):
        (place / name).write_bytes(ONE if name != "notes.txt" else b"words")
    lines = predict(place, "--glob", "*.jpg", "--glob", "d.*", "--json", override=override).stdout.splitlines()
    assert [Path(json.loads(line)["path"]).name for line in lines] == ["a.jpg", "d.png", "c.jpg"]
    named = predict(place / "notes.txt", "--glob", "*.jpg", "--json", override=override)
    assert len(named.stdout.splitlines()) == 1, "a file that is named is not looked at by its pattern"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_standard_input_is_a_picture(override: Path, jobs: str, picture: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ecdd",
        "predict",
        "-",
        picture,
        "--json",
        "--jobs",
        jobs,
        "--contract",
        override,
        "--bundle",
        "tiny",
    ]
    done = subprocess.run(command, input=ONE, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["path"], first["label"]) == ("-", "fake")
    assert first["logit"] == second["logit"]


def test_an_unreadable_file_is_no_abstention(tmp_path: Path, override: Path, picture: Path) -> None:
    plain, damaged = tmp_path / "plain.png", tmp_path / "damaged.jpg"
    from PIL import Image

    Image.new("RGB", (300, 300), (90, 120, 150)).save(plain)
    damaged.write_bytes(ONE[:900])
    said = predict(picture, plain, damaged, override=override)
    assert [line.split()[0] for line in said.stdout.splitlines()] == ["fake", "abstain", "unreadable"]
    assert "3 files: 1 fake, 1 abstain; 1 unreadable\n" in said.stderr
    in_json = predict(damaged, "--json", override=override)
    assert json.loads(in_json.stdout)["label"] == "abstain", "for a program a label is one of three"


def test_a_header_and_what_was_written_are_said_on_standard_error(
    tmp_path: Path, override: Path, picture: Path
) -> None:
    out, maps = tmp_path / "out.jsonl", tmp_path / "maps"
    said = predict(picture, "--out", out, "--heatmap", maps, override=override)
    header = said.stderr.splitlines()
    assert re.fullmatch(
        r"bundle \S+ \S+, payload \w{12}, contract \w{12}: real up to [\d.]+, fake from [\d.]+", header[0]
    )
    assert header[1].split() == ["verdict", "P(fake)", "picture"]
    assert f"written: {out}" in said.stderr
    assert f"heatmaps: 1 in {maps}" in said.stderr
    assert said.stdout.count("\n") == 1
    assert header[1].index("picture") == said.stdout.index(str(picture)), "columns stand below their names"


@pytest.mark.parametrize("place", ["before", "behind"])
def test_quiet_and_verbose_anywhere(override: Path, picture: Path, place: str) -> None:
    def run(flag: str) -> Any:
        words = ["predict", str(picture), str(picture), "--contract", str(override), "--bundle", "tiny"]
        return CliRunner().invoke(cli.app, [flag, *words] if place == "before" else [*words, flag])

    quiet, verbose, plain = run("--quiet"), run("-v"), run("--no-strict")
    assert [line for line in quiet.stderr.splitlines() if not line.startswith("warning:")] == []
    assert quiet.stdout == verbose.stdout
    assert re.search(r"^    face 1 at .* px, blur \d+", verbose.stderr, re.MULTILINE)
    assert re.search(r"^\d+\.\d s$", verbose.stderr, re.MULTILINE)
    if place == "behind":
        assert "2 files: 2 fake" in plain.stderr
        assert "face 1 at" not in plain.stderr, "the next command speaks as usual again"


def test_litert_says_nothing(picture: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ecdd", "predict", picture], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "INFO" not in done.stderr
    assert "XNNPACK" not in done.stdout + done.stderr


def in_terminal(command: list[str | Path], columns: int, environment: dict[str, str]) -> str:
    """What a command shows in a terminal of so many columns."""
    main, part = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(part, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}
    } | environment
    running = subprocess.Popen(command, stdout=part, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment)
    os.close(part)
    shown = b""
    try:
        while data := os.read(main, 4096):
            shown += data
    except OSError:
        pass  # Linux says so that the other end is closed
    running.wait()
    os.close(main)
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_colour_and_width_are_the_terminals(override: Path, tmp_path: Path) -> None:
    damaged = tmp_path / f"{'long name ' * 12}.jpg"
    damaged.write_bytes(ONE)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "ecdd",
        "predict",
        damaged,
        "--contract",
        override,
        "--bundle",
        "tiny",
    ]
    coloured = in_terminal(command, 60, {})
    assert coloured.startswith("\x1b[31mfake")
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured).rstrip()
    assert len(bare) == 60
    assert bare.endswith("…")
    plain = in_terminal(command, 400, {"NO_COLOR": "1"})
    assert "\x1b" not in plain
    assert str(damaged) in plain
    piped = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "\x1b" not in piped.stdout
    assert str(damaged) in piped.stdout


@pytest.mark.parametrize(
    ("name", "words", "code", "keys"),
    [
        ("bundle verify", ["tiny"], 0, {"payload_digest", "files", "release"}),
        ("bundle diff", ["tiny", "tiny"], 0, {"same_payload", "files", "contract"}),
        ("contract check", [], 0, {"digest", "preprocessing_digest", "proposed"}),
        ("judge", ["reports/default"], None, {"verdicts", "passed", "of"}),
        ("diff", ["reports/default", "reports/default"], 0, {"verdicts", "metrics", "identity"}),
        ("release", ["--dry-run", "--records", "reports/default"], 1, {"approved", "reasons", "never_tested_on"}),
    ],
)
def test_json_is_whole_and_alone_on_standard_output(
    name: str, words: list[str], code: int | None, keys: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    said = call(name, [*words, "--json"])
    assert said.exit_code == code or (code is None and said.exit_code in {0, 1}), said.stderr
    assert keys <= set(json.loads(said.stdout))


def test_a_renamed_option_works_and_warns() -> None:
    for command, old in RENAMED.items():
        found = every_command()[command]
        options = {option for one in found.params for option in one.opts}
        assert set(old.values()) <= options, command
        assert not set(old) & options, command
    said = call("bundle build", ["--from", "nowhere", "--mode", "float32", "--out", "new"])
    assert "warning: --from of ecdd bundle build is now --bundle; the old name goes with version 0.3" in said.stderr
    assert "nowhere" in said.stderr
    joined = call("bundle verify", ["tiny", "--key=no-such-key"])
    assert "--key of ecdd bundle verify is now --public-key" in joined.stderr
    assert joined.exit_code == 2
    new = call("bundle verify", ["tiny", "--public-key", "no-such-key"])
    assert "warning" not in new.stderr


def test_a_manifest_without_its_option_works_and_warns(tmp_path: Path) -> None:
    said = call("score", [str(tmp_path / "none.csv"), "--out", str(tmp_path / "out.parquet")])
    assert "is now ecdd score --data MANIFEST" in said.stderr
    assert "none.csv" in said.stderr
    neither = call("score", ["--out", str(tmp_path / "out.parquet")])
    assert (neither.exit_code, "--data MANIFEST" in neither.stderr) == (2, True)


def test_a_release_without_a_run_names_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = call("release", ["tiny", "--dry-run"])
    assert said.exit_code == 2
    assert said.stderr.count("\n") == 1
    assert "run `ecdd gates --bundle tiny` first" in said.stderr
    assert call("release", ["--bundle", "tiny", "--dry-run"]).stderr == said.stderr


@pytest.mark.parametrize("other_pixels", [False, True])
def test_printed_advice_works_when_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_pixels: bool
) -> None:
    """Every line is a command that names the new bundle; what is frozen is its own copy of the golden set."""
    frozen = TINY.contract.preprocessing_digest

    class Frozen:
        preprocessing_digest = "another" if other_pixels else frozen

    monkeypatch.setattr("ecdd.golden.golden_hashes.load_frozen", lambda _root: Frozen)
    out = tmp_path / "a bundle"
    steps = next_steps.freezing_steps(TINY, out)
    asked: list[Any] = []
    monkeypatch.setattr(gates_run, "run_gates", lambda request, _lines: asked.append(request) or 2)
    monkeypatch.setattr("ecdd.bundle.bundle_path", Path)
    for line in steps:
        words = shlex.split(line)
        if words[0] == "ecdd":
            CliRunner().invoke(cli.app, words[1:])
    assert {request.bundle for request in asked} == {out}
    golden = out.with_name("a bundle-golden") if other_pixels else None
    assert {request.golden for request in asked} == {golden}
    first = [("G1",)] if other_pixels else []
    assert [request.chosen for request in asked] == [*first, ("G3",), ()]
    assert [bool(request.pytest_arguments) for request in asked] == [True] * len(first) + [True, False]
    copied = [shlex.split(line) for line in steps if not line.startswith("ecdd")]
    assert [words[:2] + words[3:] for words in copied] == ([["cp", "-r", str(golden)]] if other_pixels else [])


def test_numbers_are_rounded_for_people_and_whole_for_programs(picture: Path, override: Path) -> None:
    told = json.loads(call("trace", [str(picture), "--contract", str(override), "--bundle", "tiny", "--json"]).stdout)
    shown = call("trace", [str(picture), "--contract", str(override), "--bundle", "tiny"]).stdout
    probability = next(row["probability"] for row in told["stages"] if row["stage"] == "S7")
    assert f"{probability:.4g}" in shown
    assert str(probability) not in shown
    line = predict(picture, "--json", override=override).stdout
    assert json.loads(line)["probability"] == probability
    assert f" {probability:.3f}  " in predict(picture, override=override).stdout
