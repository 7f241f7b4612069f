"""What to type next, in lines that work when they are copied."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecdd.commands.terminal import echo

if TYPE_CHECKING:
    from ecdd.bundle import Bundle


def say_how_to_freeze(made: Bundle, out: Path) -> dict[str, Any]:
    """Say how the golden outputs of a new bundle are frozen and its gates run; gives what a program wants to know.

    Parameters
    ----------
    made : Bundle
        The new bundle.
    out : Path
        Its folder, as it was given.

    Returns
    -------
    dict
        Of JSON values: folder, name, digests, calibration, thresholds, and the commands under ``next``.
    """
    steps = freezing_steps(made, out)
    echo("next, one after the other:")
    for line in steps:
        echo(f"  {line}")
    fitted = made.calibration
    return {
        "bundle": str(out),
        "name": made.manifest.name,
        "version": made.manifest.version,
        "payload_digest": made.payload_digest,
        "contract_digest": made.contract.digest,
        "calibration": {"method": fitted.method, "temperature": fitted.temperature, "bias": fitted.bias},
        "thresholds": fitted.thresholds.model_dump(mode="json"),
        "next": steps,
    }


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
