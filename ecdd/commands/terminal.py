"""The one place that prints. Whatever a terminal would obey in a text is escaped here, wherever the text is from.

Answers go to standard output; what is said about the work goes to standard error: headers, notes, progress, errors.
With ``--json`` the answer is one JSON document, and lines for people join the rest on standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer

from ecdd.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

_SHOW_PROGRESS_AFTER: Final = 1.0  # seconds
_SAY_PROGRESS_EVERY: Final = 30.0  # seconds, where nobody watches: a log of a CI service
_Item = TypeVar("_Item")


@dataclass
class _Speaking:
    """How much is said: of this process, set once by `ecdd.cli`."""

    level: Literal["quiet", "normal", "verbose"] = "normal"
    to_program: bool = False


_SPEAKING: Final = _Speaking()


def speak(level: Literal["quiet", "normal", "verbose"]) -> None:
    """Set how much is said: ``quiet`` leaves answers and errors, ``verbose`` adds details."""
    _SPEAKING.level, _SPEAKING.to_program = level, False


def _to_program(asked: bool) -> bool:
    _SPEAKING.to_program = asked
    return asked


# the option of every command whose answer a program may read
AsJson = Annotated[bool, typer.Option("--json", callback=_to_program, help="The answer as one JSON document.")]


def lines_descriptor() -> int | None:
    """File descriptor for the standard output of a process that this one starts; None leaves it as it is."""
    return 2 if _SPEAKING.to_program else None


def echo(text: str = "", *, err: bool = False, nl: bool = True, colour: str | None = None) -> None:
    """Print lines.

    Parameters
    ----------
    text : str
        Names, keys and values in it may come from files that anyone may have made. Only its line ends are obeyed.
    err : bool
        To standard error.
    nl : bool
        End with a line end.
    colour : str, optional
        Of the whole text, where a terminal shows it and NO_COLOR is not set.
    """
    lines = "\n".join(map(printable, text.split("\n")))
    if colour and not os.environ.get("NO_COLOR"):
        lines = typer.style(lines, fg=colour)  # taken out again where the output is no terminal
    typer.echo(lines, err=err or _SPEAKING.to_program, nl=nl)


def note(text: str) -> None:
    """Say something about the work on standard error, unless ``--quiet``."""
    if _SPEAKING.level != "quiet":
        echo(text, err=True)


def detail(text: str) -> None:
    """Say a detail on standard error under ``--verbose``."""
    if _SPEAKING.level == "verbose":
        echo(text, err=True)


def write_json(value: Any) -> None:  # noqa: ANN401 - JSON values
    """Print an answer for a program: all digits, nothing cut."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=True))


def console(width: int | None = None) -> Console:
    """Where tables of lines for people are drawn."""
    from rich.console import Console

    return Console(width=width, stderr=_SPEAKING.to_program)


def fitted(text: str) -> str:
    """The text on one line of the terminal, its end cut; whole where standard output is no terminal."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


class Bar:
    """Progress on standard error: a bar from the first second on where a person watches, else a line now and then."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._since = self._said = time.monotonic()
        self._shown: Progress | None = None
        self._watched = sys.stderr.isatty()

    def advance(self, steps: int = 1) -> None:
        """Say that so many more are done."""
        self.reach(self._done + steps, self._total)

    def say(self, what: str) -> None:
        """Say what is being done now, where nothing is counted."""
        self._what = what
        self.reach(0)

    def reach(self, done: int, total: int | None = None) -> None:
        """Say how many are done, and of how many."""
        self._done, self._total = done, total
        if _SPEAKING.level == "quiet":
            return
        now = time.monotonic()
        if not self._watched:
            if now - self._said > _SAY_PROGRESS_EVERY:
                self._said = now
                note(
                    self._what + ("" if total is None and not done else f": {done}") + (f" of {total}" if total else "")
                )
            return
        if self._shown is None and now - self._since > _SHOW_PROGRESS_AFTER:
            self._shown = _started()
            self._shown.add_task(self._what)
        if self._shown is not None:
            task = self._shown.task_ids[0]
            self._shown.update(task, completed=self._done, total=self._total, description=printable(self._what))

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.stop()


def _started() -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    # verdicts on a redirected standard output must not be drawn into the bar
    shown = Progress(console=Console(stderr=True), transient=True, redirect_stdout=False)
    shown.start()
    return shown


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Bar]:
    """Show progress for as long as the block lasts."""
    bar = Bar(what, total)
    try:
        yield bar
    finally:
        bar.close()


def watched(items: Iterable[_Item], total: int | None, what: str) -> Iterator[_Item]:
    """Go through items with a progress bar."""
    with progress(what, total) as bar:
        for item in items:
            yield item
            bar.advance()


def plain(text: str) -> Text:
    """Text of a table's cell, escaped, and read for no markup."""
    from rich.text import Text

    return Text(printable(text))
