"""What this package raises on purpose, and how its messages are shown.

Exit codes of every command: 0 done, or yes; 1 all that was given is right and the answer is no; 2 no answer, because
the call, a file, a contract or a bundle is wrong, or because there is too little to decide by. An interrupted training
ends with 130. `ecdd.cli` alone turns errors into exit codes.
"""

from __future__ import annotations


class EcddError(Exception):
    """Base of every error that this package raises on purpose.

    The message names the file, key or clause, the value, the limit and what to do: it is all that a user is shown.
    """


class ListedError(EcddError):
    """Several problems found at once, one a line.

    Parameters
    ----------
    problems : list of str
        What is wrong, each with its place; at least one.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def how_to_install(extra: str) -> str:
    """What to do where the libraries of an extra are missing; the project is on no package index.

    Examples
    --------
    >>> print(how_to_install("gates"))
    install the extra gates from where ECDD came: pip install '.[gates]' in its checkout, or 'WHEEL[gates]'
    """
    return (
        f"install the extra {extra} from where ECDD came: pip install '.[{extra}]' in its checkout, or 'WHEEL[{extra}]'"
    )


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or could not encode; names and keys come from files that anyone may have made.

    Parameters
    ----------
    text : str
        Anything.

    Returns
    -------
    str
        One line: newlines are escaped too.

    Examples
    --------
    >>> print(printable("t\x1b[31m\n.jpg"))
    t\x1b[31m\n.jpg
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode("ascii") for one in text
    )
