"""What ``--out`` may be: never an input, never replaced where it is no file, never lost on a full disk."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ecdd
from ecdd.bundle.loading import default_bundle_path
from ecdd.cli import app
from ecdd.files import OutputError, check_output, open_output, write_bytes, write_output
from gates.support.drawn_pictures import portrait

PICTURE = portrait(1)
# writers of files that no option names: a copy in a temporary folder, a lock, a folder that the command itself makes
OWN_FILES = {
    "files.py", "commands/init.py", "dataset_governance/review_store.py", "evidence/selection.py",
    "export/contract_text.py", "release/signing.py", "runtimes/torch.py",
}  # fmt: skip


def predict(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-B", "-m", "ecdd", "predict", *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=300, **({"capture_output": True} | options))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "pictures" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(PICTURE)
    return path


def _symbolic(picture: Path) -> Path:
    link = picture.parent.parent / "link"
    link.symlink_to(picture)
    return link


def _hard(picture: Path) -> Path:
    link = picture.parent.parent / "link"
    link.hardlink_to(picture)
    return link


@pytest.mark.parametrize(
    "named", [lambda picture: picture, _symbolic, _hard, lambda p: p.parent / ".." / p.parent.name / p.name]
)
def test_an_output_that_is_an_input_is_refused(picture: Path, named: Callable[[Path], Path]) -> None:
    out = named(picture)
    for given in ([picture], [picture.parent / "missing.jpg", picture]):
        with pytest.raises(OutputError, match="is the input"), open_output(out, inputs=given):
            pytest.fail("opened")
    assert picture.read_bytes() == PICTURE
    assert len(list(picture.parent.iterdir())) == 1


def test_an_output_in_a_folder_of_inputs_is_refused_only_where_it_exists(picture: Path) -> None:
    folder = picture.parent
    with pytest.raises(OutputError, match="lies in the input"):
        check_output(picture, [folder])
    check_output(folder / "new.jsonl", [folder])
    with pytest.raises(OutputError, match="is a folder"):
        check_output(folder, [])


def test_predict_refuses_its_own_inputs(picture: Path, tmp_path: Path) -> None:
    contract = tmp_path / "contract.yaml"
    contract.write_bytes((default_bundle_path() / "policy_contract.yaml").read_bytes())
    for arguments, out in (
        ([picture.parent], picture),
        ([picture, "--contract", contract], contract),
        ([picture], default_bundle_path() / "bundle.json"),
    ):
        before = out.read_bytes()
        done = CliRunner().invoke(app, ["predict", *map(str, arguments), "--out", str(out)])
        assert (done.exit_code, done.stdout) == (2, ""), "refused before anything was judged"
        assert f"ecdd: {out}: " in done.stderr
        assert "choose another output" in done.stderr
        assert out.read_bytes() == before


def test_one_module_writes_what_an_option_names() -> None:
    writes = re.compile(r"\.write_(bytes|text)\(|open\([^)]*[\"'][wax]b?\+?[\"']")
    package = Path(ecdd.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if writes.search(path.read_text(encoding="utf-8").replace("files.write_bytes(", ""))
    }
    assert found <= OWN_FILES


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "real.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    link.symlink_to(target)
    for content in (b"new", b"newer"):
        write_output(link, content)
        assert (link.is_symlink(), target.read_bytes()) == (True, content)
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_is_written_to(picture: Path, tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = CliRunner().invoke(app, ["predict", str(picture), "--out", str(pipe)])
    reader.join(60)
    assert done.exit_code == 0, done.stderr
    assert json.loads(found[0])["path"] == str(picture)
    assert pipe.is_fifo()


@pytest.mark.parametrize("redirected", [False, True])
def test_standard_output_is_written_to(picture: Path, tmp_path: Path, redirected: bool) -> None:
    """Also where the shell sent it into a file: that file is not replaced under the shell's hands."""
    kept = tmp_path / "kept"
    with kept.open("wb") as stream:
        number = os.fstat(stream.fileno()).st_ino
        done = predict(
            picture,
            "--json",
            "--out",
            "/dev/fd/1",
            **({"capture_output": False, "stdout": stream, "stderr": subprocess.PIPE} if redirected else {}),
        )
    assert done.returncode == 0, done.stderr
    lines = (kept.read_bytes() if redirected else done.stdout).splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0]) == json.loads(lines[1])
    assert kept.stat().st_ino == number


def test_names_that_a_user_may_have_are_left_alone(tmp_path: Path) -> None:
    out, own = tmp_path / "out.jsonl", [tmp_path / name for name in ("out.jsonl.partial", ".out.jsonl.partial")]
    for path in own:
        path.write_text("mine")
    with open_output(out) as one, open_output(out) as two:
        for _ in range(100):
            one.write(b"one\n")
            two.write(b"two\n")
    assert out.read_bytes() == b"one\n" * 100, "who ends last has the name, and the file is whole"
    assert [path.read_text() for path in own] == ["mine", "mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.jsonl.partial", "out.jsonl", "out.jsonl.partial"]


def test_nothing_is_left_of_a_file_that_was_given_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")

    def stopped() -> None:
        with open_output(out, keep_lines=True) as stream:
            stream.write(b"new\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_full_disk_loses_no_verdict(picture: Path, tmp_path: Path) -> None:
    """No file of this process may be longer than 20,000 bytes: writing on is refused as on a full disk."""
    for number in range(30):
        (picture.parent / f"damaged-{number:02d}.jpg").write_bytes(b"damaged")
    out, limit = tmp_path / "out.jsonl", 20_000
    out.write_text("old")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = predict(picture.parent, "--json", "--out", out, preexec_fn=limited)
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "Traceback" not in said
    (kept,) = tmp_path.glob("out.jsonl.incomplete*")
    lines = kept.read_bytes().splitlines()
    assert f"ecdd: {out}: {os.strerror(errno.EFBIG)}; the first {len(lines)} lines are kept in {kept}" in said
    assert len(lines) > 1
    assert lines == done.stdout.splitlines()[: len(lines)]
    assert kept.read_bytes().endswith(b"\n")
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", kept.name, "pictures"]


def test_a_device_that_is_full_is_named() -> None:
    full = Path("/dev/full")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        write_output(full, b"content")
    assert caught.value.filename == str(full)
    assert full.is_char_device()


def test_every_atomic_write_names_the_file_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    script = (
        f"from ecdd.files import write_bytes; from pathlib import Path; write_bytes(Path({str(path)!r}), bytes(99))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{os.strerror(errno.EFBIG)}: {str(path)!r}" in done.stderr
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]
    with pytest.raises(OSError, match="File") as caught:
        write_bytes(path / "below", b"")
    assert "file" in str(caught.value.filename)
