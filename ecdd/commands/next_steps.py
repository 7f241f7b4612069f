"""What to type next, in lines that work when they are copied."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ecdd.commands.terminal import echo

if TYPE_CHECKING:
    from ecdd.bundle import Bundle


def say_how_to_freeze(made: Bundle, out: Path) -> None:
    """Say how the golden outputs of a new bundle are frozen and its gates run, one command a line."""
    echo("next, one after the other:")
    for line in freezing_steps(made, out):
        echo(f"  {line}")


def freezing_steps(made: Bundle, out: Path) -> list[str]:
    """Commands that freeze what the gates compare a bundle with, and run them.

    Parameters
    ----------
    made : Bundle
        The new bundle. Where its contract makes other pixels or faces than the shipped golden set was frozen with, a
        copy of that set is frozen first.
    out : Path
        Its folder, as it was given.

    Returns
    -------
    list of str
        For a shell, in order; each names the bundle.
    """
    from ecdd.golden.golden_hashes import load_frozen
    from ecdd.specification import GOLDEN

    bundle = f"--bundle {shlex.quote(str(out))}"
    steps, golden = [], ""
    if load_frozen(GOLDEN).preprocessing_digest != made.contract.preprocessing_digest:
        copy = shlex.quote(str(out.with_name(f"{out.name}-golden")))
        golden = f" --golden {copy}"
        steps += [f"cp -r {shlex.quote(str(GOLDEN))} {copy}", f"ecdd gates G1 {bundle}{golden} -- --snapshot-update"]
    steps.append(f"ecdd gates G3 {bundle}{golden} -- --snapshot-update")
    return [*steps, f"ecdd gates {bundle}{golden}"]
