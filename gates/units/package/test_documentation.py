"""The documentation holds: its commands print what it says, its options exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecdd.cli import COMMANDS, load_command
from gates.support.console_blocks import ROOT, agrees, environment, read_blocks, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "reference" not in page.parts]
TYPED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
RUN = [page for page in PAGES if any(not block.not_run for block in read_blocks(page.read_text("utf-8")))]
_FENCED = re.compile(r"^```(?:console|bash|)\n(.*?)^```$", re.M | re.S)
_CALL = re.compile(r"(?:^|\$ |\| |; |&& )ecdd (.+?)(?= #|  +#| \||;|&&|$)", re.M)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_LONGEST_README = 150
# commands that read nothing of the folder they run in, and what they printed on the first page that has them
_ALONE = ("ecdd gates E1.9", "ecdd bundle verify")
_PRINTED: dict[str, tuple[int, list[str]]] = {}
_FROM_INDEX = re.compile(r"""install (?:-\w+ )*["']?ecdd(?:\[[\w,]+\])?["']?(?=\s*$|[\s"')](?! ?@))""", re.M)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _run_once(text: str, folder: Path) -> tuple[int, list[str]]:
    """Run a command after which a page ends, or take what it printed on another page: nobody needs what it leaves."""
    return _PRINTED[text] if text in _PRINTED else run(text, folder, environment())


@pytest.mark.parametrize("page", RUN, ids=named)
def test_commands_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    commands = [one for block in read_blocks(page.read_text("utf-8")) if not block.not_run for one in block.commands]
    for number, command in enumerate(commands):
        is_last = number == len(commands) - 1
        code, printed = _run_once(command.text, tmp_path) if is_last else run(command.text, tmp_path, environment())
        if command.text in _ALONE:
            _PRINTED[command.text] = code, printed
        shown = "\n".join(printed)
        assert agrees(command.printed, printed), (
            f"{named(page)}:{command.line}: {command.text!r} prints now:\n{shown}\n"
            f"python -m gates.support.console_blocks {named(page)} writes it there"
        )
        assert code == command.exit_code, f"{named(page)}:{command.line}: {command.text!r} ended with {code}:\n{shown}"


def _calls(text: str) -> Iterator[list[str]]:
    for block in _FENCED.findall(text):
        for call in _CALL.findall(block.replace("\\\n", " ")):
            yield shlex.split(call.replace("…", ""), comments=True)


def _unknown(words: list[str]) -> str:
    """What of a call the command line does not have."""
    name, *rest = words
    if name.startswith("-"):
        return ""
    if name not in COMMANDS:
        return f"no command {name}"
    command: Any = load_command(name)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    options = {word for one in command.params for word in (*one.opts, *one.secondary_opts)} | {"-q", "-v", "--help"}
    given = [word.partition("=")[0] for word in (rest[: rest.index("--")] if "--" in rest else rest)]
    wrong = [word for word in given if word.startswith("-") and len(word) > 1 and word not in options]
    return f"{' '.join(words)}: no option {wrong[0]}" if wrong else ""


@pytest.mark.parametrize("page", TYPED, ids=named)
def test_every_call_is_one(page: Path) -> None:
    wrong = [said for words in _calls(page.read_text("utf-8")) if (said := _unknown(words))]
    assert wrong == []


def test_a_call_that_is_none_is_noticed() -> None:
    text = "```\necdd predict a.jpg --heatmap out   # good\necdd guess a.jpg\necdd gates --bundel B\n```\n"
    assert [_unknown(words) for words in _calls(text)] == [
        "",
        "no command guess",
        "gates --bundel B: no option --bundel",
    ]


@pytest.mark.parametrize("page", [*TYPED, ROOT / "gates" / "README.md"], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = [link for link in _LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()]
    assert wrong == []


def test_the_readme_is_of_one_screen() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= _LONGEST_README
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 3
    assert all((ROOT / picture).stat().st_size < 300_000 for picture in pictures)


def test_nobody_is_told_to_install_it_from_an_index() -> None:
    """There is none that has it: what lies there under this name would be somebody else's."""
    kinds = ("*.md", "*.py", "*.yaml", "*.html", "*.j2", "*.js", "*.toml", "Makefile")
    places = [path for part in ("ecdd", "gates", "docs") for kind in kinds for path in (ROOT / part).rglob(kind)]
    places += [path for kind in kinds for path in ROOT.glob(kind)]
    places.remove(Path(__file__))
    wrong = [named(path) for path in places if _FROM_INDEX.search(path.read_text("utf-8"))]
    assert wrong == []
    assert _FROM_INDEX.search("pip install 'ecdd[gates]'")
    assert not _FROM_INDEX.search('pip install "ecdd[gates] @ git+https://example.org/ecdd"')


def test_python_of_the_readme_runs(tmp_path: Path) -> None:
    code = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert code is not None
    (tmp_path / "ten_lines.py").write_text(code[1], "utf-8")
    (tmp_path / "face.jpg").write_bytes((ROOT / "golden" / "in_scope" / "fake_generated_00.jpg").read_bytes())
    ended, printed = run("python ten_lines.py", tmp_path, environment())
    assert ended == 0, printed
    assert any(line.startswith("fake 0.9") for line in printed)
    assert printed[-2:] == ["judged", "rejected"]
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_an_ellipsis_stands_for_anything_and_nothing_else() -> None:
    printed = ["bundle a 1.0", "x", "y", "face.png  real"]
    assert agrees(["bundle … 1.0", "…", "face.png  real"], printed)
    assert agrees(["…"], printed)
    assert agrees(["…"], [])
    assert not agrees(["bundle … 2.0", "…"], printed)
    assert not agrees(["bundle a 1.0", "x", "y"], printed)
    assert not agrees([], printed)


def test_blocks_are_read_with_their_notes() -> None:
    text = "<!-- exit: 2 -->\n```console\n$ a\nout\n$ b \\\n  c\n```\n<!-- not run: slow -->\n```console\n$ d\n```\n"
    first, second = read_blocks(text)
    assert [(one.text, one.printed, one.exit_code) for one in first.commands] == [
        ("a", ["out"], 0),
        ("b \\\n  c", [], 2),
    ]
    assert (first.not_run, second.not_run, second.commands[0].line) == ("", "slow", 10)
    with pytest.raises(ValueError, match="line 2"):
        read_blocks("```console\nno prompt\n```\n")
