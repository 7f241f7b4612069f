"""The one error of the contract: every problem at once, each with file, line, key, value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ecdd.errors import EcddError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a contract file.

    Attributes
    ----------
    line : int
        Line of the file, from 1; 0 where the problem has no line (the file itself, a changed value).
    key : str
        Dotted path of the knob, for example ``"operating_point.t_fake"``; empty for the whole file.
    text : str
        What is wrong, the value, and what is allowed.
    """

    line: int
    key: str
    text: str


class ContractError(EcddError):
    """A contract that cannot be used. The message has one line a problem: ``file:line: key: text``.

    Attributes
    ----------
    path : str
        The file as it was named.
    problems : tuple of Problem
        All of them, sorted by line; those without a line last.
    """

    def __init__(self, path: str, problems: Iterable[Problem]) -> None:
        self.path = path
        order = sorted(problems, key=lambda item: (item.line == 0, item.line, item.key, item.text))
        self.problems = tuple(order)
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        place = f"{self.path}:{problem.line}" if problem.line else self.path
        return f"{place}: {problem.key}: {problem.text}" if problem.key else f"{place}: {problem.text}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that is closest to a misspelt one.

    Parameters
    ----------
    name : str
        What was written.
    known : iterable of str
        What could have been meant.

    Returns
    -------
    str
        ``'; did you mean "…"?'``, or all the known names where none is close.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else f"; known: {', '.join(names)}"
