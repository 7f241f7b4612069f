"""Console blocks of the documentation: what is typed, what is printed, and whether the two still belong together.

A fenced block marked ``console`` holds commands behind ``$ `` and, below each, what it prints. ``…`` stands for
anything within a line, and alone in a line for any lines. ``<!-- exit: 1 -->`` above a block says how its last command
ends, ``<!-- not run: REASON -->`` that nobody runs it. ``python -m gates.support.console_blocks FILE …`` runs the
blocks and writes what was printed where it differs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCE: Final = "```"
_PROMPT: Final = "$ "
_NOTE: Final = re.compile(r"<!-- (not run|exit): (.+?) -->")
_ANYTHING: Final = "…"
_SECONDS: Final = 300


@dataclass
class Command:
    """A command of a block; ``line`` is that of its prompt, from 1, ``printed`` what stands below it."""

    text: str
    line: int
    printed: list[str] = field(default_factory=list)
    exit_code: int = 0


@dataclass
class Block:
    """A console block; ``not_run`` is the reason why nobody runs it, empty where it is run."""

    commands: list[Command]
    not_run: str = ""


def read_blocks(text: str) -> list[Block]:
    """The console blocks of a Markdown text, in order.

    Parameters
    ----------
    text : str
        Of the page.

    Returns
    -------
    list of Block
        Lines before the first prompt of a block are an error: `ValueError` names the line.
    """
    blocks, note, lines = [], ("", ""), enumerate(text.splitlines(), 1)
    for _, line in lines:
        if line == f"{_FENCE}console":
            block = Block(list(_commands(lines)), note[1] if note[0] == "not run" else "")
            if note[0] == "exit":
                block.commands[-1].exit_code = int(note[1])
            blocks.append(block)
        found = _NOTE.fullmatch(line)
        note = (found[1], found[2]) if found else ("", "")
    return blocks


def _commands(lines: Iterator[tuple[int, str]]) -> Iterator[Command]:
    current: Command | None = None
    for number, line in lines:
        if line == _FENCE or line.startswith(_PROMPT):
            if current is not None:
                yield current
            if line == _FENCE:
                return
            current = Command(line.removeprefix(_PROMPT), number)
        elif current is None:
            raise ValueError(f"line {number}: a console block begins with {_PROMPT!r}")
        elif current.text.endswith("\\"):
            current.text += f"\n{line}"
        else:
            current.printed.append(line)
    raise ValueError("a console block has no end")


def agrees(expected: list[str], printed: list[str]) -> bool:
    """Whether what was printed is what the page says, ``…`` standing for anything."""
    parts = []
    for line in expected:
        if line.strip() == _ANYTHING:
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(map(re.escape, line.rstrip().split(_ANYTHING))) + r"[ \t]*\n")
    return re.fullmatch("".join(parts), "".join(f"{line.rstrip()}\n" for line in printed)) is not None


def run(command: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, list[str]]:
    """Type a command; gives its exit code and what a terminal would show, empty lines at the ends left out."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    return done.returncode, done.stdout.strip("\n").splitlines()


def environment() -> dict[str, str]:
    """Of somebody who has just installed the package: this Python's commands first, a narrow terminal, no colour."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "ECDD_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}"
    return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


def rewritten(text: str, folder: Path) -> tuple[str, list[str]]:
    """A page with what its commands print now.

    Parameters
    ----------
    text : str
        Of the page.
    folder : Path
        An empty folder.

    Returns
    -------
    (str, list of str)
        The page, and a line for each command whose text was changed or whose exit code is not the page's.
    """
    lines, said, shift = text.splitlines(), [], 0
    for command in [one for block in read_blocks(text) if not block.not_run for one in block.commands]:
        code, printed = run(command.text, folder, environment())
        first = command.line + command.text.count("\n") + shift
        if code != command.exit_code:
            said.append(f"line {command.line}: {command.text!r} ended with {code}, not {command.exit_code}")
        if not agrees(command.printed, printed):
            said.append(f"line {command.line}: {command.text!r} prints something else:\n" + "\n".join(printed))
            lines[first : first + len(command.printed)] = printed
            shift += len(printed) - len(command.printed)
    return "\n".join(lines) + "\n", said


def main() -> int:
    """Write what the commands of the pages print now; 1 where an exit code is not the page's."""
    wrong = 0
    for path in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            text, said = rewritten(path.read_text("utf-8"), Path(folder))
        path.write_text(text, "utf-8")
        wrong += sum(" ended with " in line for line in said)
        for line in said:
            sys.stdout.write(f"{path}: {line}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
