"""Every ``--out``: an input is never replaced, a link stays one, a device is written to, a full one is one line.

Files are written by `ecdd.files.write_output` and `open_output`, whose own tests are in
`gates/units/predict/test_output_files.py`; here every command is asked whether it goes that way.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from string import Formatter
from typing import Any, Final

import pytest

from gates.support.command_calls import CALLS, call, every_command, write_files

FULL: Final = Path("/dev/full")
# files: the words of the call, what of them is read, and whether more is written beside the file
FILES: Final[dict[str, tuple[str, tuple[str, ...], bool]]] = {
    "predict": ("{picture} --bundle {bundle} --contract {contract} --out {out}", ("picture", "contract"), False),
    "contract upgrade": ("{contract} --out {out}", ("contract",), False),
    "device dump": ("--bundle {bundle} --platform here --picture real_oath_a --out {out}", ("bundle",), False),
    "diff": ("{run} {run} --html {out}", ("run",), False),
    "forgeries sheet": (CALLS["forgeries sheet"].replace("{new}", "{out}"), ("manifest", "split", "listed"), False),
    "govern merge": ("--data {manifest} --out {out}", ("manifest",), False),
    "govern review export": ("--store {store} --review-key {key} --out {out}", ("store",), False),
    "govern review next": ("--store {store} --review-key {key} --out {out}", ("store",), False),
    "govern review protocol": ("--contract {contract} --out {out}", ("contract",), False),
    "govern scan": ("--data {manifest} --split {split} --out {out}", ("manifest", "split", "listed"), False),
    "govern split": ("--data {manifest} --out {out}", ("manifest", "listed"), True),
    "models import": ("{weights} --arch tiny_ladeda --operator NPR --out {out}", ("weights",), False),
    "models store": ("{weights} --out {out}", ("weights",), True),
    "monitor reference": ("{log} --out {out}", ("log",), False),
    "mutants": ("--bundle {bundle} --gate phase8 --out {out}", ("bundle",), False),
    "score": ("--data {manifest} --out {out}", ("manifest", "listed"), True),
}
# folders: the words, what of them is read, and a file that is written there
FOLDERS: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "export": ("--checkpoint {weights} --contract {contract} --out {out}", ("weights",), "model.onnx"),
    "monitor report": ("{log} --out {out}", ("log",), "monitoring.json"),
    "parity": ("--data {picture} --reference bundle:{bundle}:onnx --candidate bundle:{bundle} --out {out}",
               ("picture",), "parity.json"),
}  # fmt: skip
# what is made there is the command's alone: a name that is taken, an empty folder apart, is refused
NEW: Final = {
    "bundle build": "--mode float32 --bundle {bundle} --out {out}",
    "calibrate": "--bundle {bundle} --out {out}",
    "contract init": CALLS["contract init"].replace("{new}", "{out}"),
    "device pack": "{bundle} --out {out}",
    "onboard": CALLS["onboard"].replace("{new}", "{out}"),
}
# why not here
ELSEWHERE: Final = {
    "gates": "a folder of a run, which gates/units/package/test_gates_call.py holds to be its own",
    "train teacher": "a folder of a training, which its own run goes on in; see below",
    "train student": "a folder of a training, which its own run goes on in; see below",
    "train lite": "a folder of a training, which its own run goes on in; see below",
    "web build": "gates/units/parity/test_unit_web_page.py; its runtime comes from npm",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    files = write_files(tmp_path_factory.mktemp("made"))
    listed = Path(files["manifest"]).read_text("utf-8").splitlines()[1].partition(",")[0]
    return files | {"listed": listed}


@pytest.fixture
def given(made: dict[str, str], tmp_path: Path) -> Given:
    return Given(made, tmp_path / "own")


class Given:
    """Files of one test alone, whatever becomes of them: copies of those that a call names."""

    def __init__(self, made: dict[str, str], folder: Path) -> None:
        self._made, self._folder = made, folder

    def __getitem__(self, key: str) -> str:
        source = Path(self._made[key])
        copy = self._folder / f"{key}{source.suffix}"
        if not copy.exists():
            self._folder.mkdir(exist_ok=True)
            if key == "manifest":
                first, *rows = source.read_text("utf-8").splitlines()
                rows = [f"{self['listed']},{rows[0].partition(',')[2]}", *rows[1:]]
                copy.write_text("\n".join([first, *rows, ""]), "utf-8")
            elif source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copy(source, copy)
        return str(copy)

    def words(self, text: str, out: Path) -> list[str]:
        keys = {key for _, key, _, _ in Formatter().parse(text) if key and key != "out"}
        return [word.format(**{key: self[key] for key in keys}, out=out) for word in text.split()]


def asked(name: str, words: str, given: Given, out: Path) -> Any:
    return call(name, given.words(words, out))


def is_one_line(said: Any, *named: str) -> None:
    """Exit code 2, and one line that names what was given; heads of chains and progress are said beside it."""
    assert said.exit_code == 2, said.output
    lines = [line for line in said.stderr.splitlines() if line.startswith("ecdd: ")]
    assert len(lines) == 1, said.stderr
    assert all(text in lines[0] for text in named), lines
    assert "Traceback" not in said.output


def input_of(given: Given, key: str) -> Path:
    """A file that is read: of a folder the first one in it."""
    path = Path(given[key])
    return path if path.is_file() else next(one for one in sorted(path.rglob("*")) if one.is_file())


def test_every_output_is_in_a_table() -> None:
    named = {
        name for name, command in every_command().items() for one in command.params if {"--out", "--html"} & {*one.opts}
    }
    tables = (FILES, FOLDERS, NEW, ELSEWHERE)
    assert named == {name for table in tables for name in table}
    assert len(named) == sum(map(len, tables)), "in one table each"


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_output_that_is_an_input_is_refused(name: str, given: Given, tmp_path: Path) -> None:
    words, inputs, _ = FILES[name]
    for number, key in enumerate(inputs):
        out = input_of(given, key)
        for way in (out, tmp_path / f"link{number}"):
            if way != out:
                way.symlink_to(out)
            before = out.read_bytes()
            is_one_line(asked(name, words, given, way), str(way))
            assert out.read_bytes() == before, key


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_folder_that_holds_an_input_keeps_it(name: str, given: Given, tmp_path: Path) -> None:
    words, inputs, file = FOLDERS[name]
    for number, key in enumerate(inputs):
        out, read = tmp_path / f"out{number}", input_of(given, key)
        out.mkdir()
        (out / file).symlink_to(read)
        before = read.read_bytes()
        is_one_line(asked(name, words, given, out), str(out / file), "is the input")
        assert read.read_bytes() == before


@pytest.mark.parametrize("name", ["student", "teacher", "lite"])
def test_a_training_keeps_the_weights_that_it_begins_with(name: str, given: Given, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    weights = Path(shutil.copy(given["weights"], out / "weights.safetensors"))
    before = weights.read_bytes()
    is_one_line(asked(f"train {name}", f"--data {{manifest}} --out {{out}} --init {weights}", given, out), str(weights))
    assert weights.read_bytes() == before


@pytest.mark.parametrize("name", sorted(NEW))
def test_what_is_made_anew_replaces_nothing(name: str, given: Given, tmp_path: Path) -> None:
    """Neither a file nor a folder with something in it, nor a device; a command names what is there."""
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine", "utf-8")
    for out in (taken, taken / "mine", FULL):
        is_one_line(asked(name, NEW[name], given, out), str(out))
    assert [(one.name, one.read_text("utf-8")) for one in taken.iterdir()] == [("mine", "mine")]
    assert stat.S_ISCHR(FULL.stat().st_mode)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"mutants"}))  # minutes of work come first
def test_a_full_device_is_one_line_and_stays_a_device(name: str, given: Given) -> None:
    words, _, needs_a_file = FILES[name]
    said = asked(name, words, given, FULL)
    is_one_line(said, str(FULL), "is no file" if needs_a_file else "No space left on device")
    assert stat.S_ISCHR(FULL.stat().st_mode)
    if name == "predict":
        assert said.stdout.split()[0] in {"real", "fake", "abstain"}, "the verdict is not lost"


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_full_disk_below_a_folder_is_one_line(name: str, given: Given, tmp_path: Path) -> None:
    words, _, file = FOLDERS[name]
    out = tmp_path / "out"
    out.mkdir()
    (out / file).symlink_to(FULL)
    said = asked(name, words, given, out)
    is_one_line(said, str(out / file), "No space left on device")
    assert (out / file).is_symlink()


@pytest.mark.parametrize("name", sorted({*FILES, *FOLDERS} - {"mutants"}))
def test_a_link_stays_a_link(name: str, given: Given, tmp_path: Path) -> None:
    words, _, what = FILES.get(name) or FOLDERS[name]
    out, target = tmp_path / "out", tmp_path / "elsewhere"
    link = out
    if name in FOLDERS:
        out.mkdir()
        link = out / str(what)
    if name != "score":  # a table that is there must be one
        target.write_text("old", "utf-8")
    link.symlink_to(target)
    said = asked(name, words, given, out)
    assert said.exit_code in {0, 1}, said.output
    assert link.is_symlink()
    assert target.read_bytes() not in {b"", b"old"}
    assert link.samefile(target)
