"""The one place that prints. Whatever a terminal would obey in a text is escaped here, wherever the text is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ecdd.errors import printable

if TYPE_CHECKING:
    from rich.text import Text


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
        Of the whole text, where a terminal shows it.
    """
    lines = "\n".join(map(printable, text.split("\n")))
    typer.secho(lines, fg=colour, err=err, nl=nl)


def plain(text: str) -> Text:
    """Text of a table's cell, escaped, and read for no markup."""
    from rich.text import Text

    return Text(printable(text))
