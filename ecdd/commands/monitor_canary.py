"""``ecdd monitor canary``: whether a candidate bundle is promoted, held or rolled back."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecdd.commands.terminal import AsJson, echo, progress, write_json

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.monitoring.canary import Comparison

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers are forked, see `ecdd.commands.predict`
EXIT_CODES = {"promote": 0, "rollback": 1, "hold": 2}


def canary(
    *,
    current: Annotated[Path | None, typer.Option(help="Bundle in service; the default one where not given.")] = None,
    candidate: Annotated[Path | None, typer.Option(help="Bundle that is to follow it; needs --data.")] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled manifest, or its folder: both judge it now.")] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="Score tables of current and candidate, in this order, in place of --data."),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Split whose near-duplicate groups are one cluster each.")] = None,
    transforms: Annotated[bool, typer.Option("--transforms", help="With --data: the whole transform suite.")] = False,
    without_latency: Annotated[
        bool, typer.Option("--without-latency", help="Promote though latency was not measured; tables hold none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two bundles on one labelled stream by the current contract's limits.

    Exit code 0: promote. 1: roll back, also where the candidate cannot be loaded. 2: hold, that is too few pictures or
    an undecided metric, or nothing could be compared.
    """
    from ecdd.bundle import BundleError, load_bundle
    from ecdd.dataset_governance.lineage_tags import load_split
    from ecdd.monitoring.canary import compare

    if (data is None) == (not scores) or (data is not None) != (candidate is not None) or len(scores or [1, 2]) != 2:
        raise typer.BadParameter(
            "give --candidate with --data, or --scores twice: the current bundle's, the candidate's"
        )
    serving = load_bundle(current)
    try:
        newer = None if candidate is None else load_bundle(candidate)
    except BundleError as error:
        why = f"the candidate cannot be loaded: {error}"
        echo(f"rollback: {why}")
        if as_json:
            write_json({"decision": "rollback", "reasons": [why], "changes": [], "outcomes": {}})
        raise typer.Exit(EXIT_CODES["rollback"]) from None
    groups = None
    if split is not None:
        groups = {key: row.near_duplicate_group for key, row in load_split(split).rows.items()}
    if newer is not None and data is not None:
        rows = _answers(serving, newer, data, transforms)
    else:
        rows = _tables(serving, scores or [])
    found = compare(rows[0], rows[1], serving.contract.policy, groups=groups, latency=not without_latency)
    if as_json:
        write_json(_as_json(found))
    else:
        _say(found)
    raise typer.Exit(EXIT_CODES[found.decision])


def _answers(serving: Bundle, newer: Bundle, data: Path, transforms: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202 - lazily imported
    from ecdd.evaluation.scoring import Request
    from ecdd.monitoring.canary_scoring import answers

    with progress("judging") as bar:
        return answers(serving, newer, Request(data, serving, None, transforms), bar.reach)


def _tables(serving: Bundle, paths: list[Path]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from ecdd.evaluation.score_table import read_table
    from ecdd.monitoring.canary import CanaryError

    tables = [read_table(path) for path in paths]
    if why := tables[0].why_not_of(serving.payload_digest, serving.contract.digest):
        raise CanaryError(f"{paths[0].name}: {why}; the first table must be of --current")
    for what in ("manifest_digest", "suite_digest"):
        one, other = (getattr(table.plan, what) for table in tables)
        if one != other:
            raise CanaryError(f"{what} is {one[:12]} and {other[:12]}: the tables are not of one stream")
    return [table.rows for table in tables]


def _as_json(found: Comparison) -> dict[str, Any]:
    changes = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in one.items()}
        for one in map(asdict, found.changes)
    ]
    outcomes = {name: list(pair) for name, pair in found.outcomes.items()}
    return {"decision": found.decision, "reasons": list(found.reasons), "changes": changes, "outcomes": outcomes}


def _say(found: Comparison) -> None:
    for change in found.changes:
        if not change.n:
            echo(f"{change.name}: {change.finding}")
            continue
        latency = change.name == "latency_ratio"
        values = f"{change.current:.2f} -> {change.candidate:.2f} ms" if latency else (
            f"{change.current:.4f} -> {change.candidate:.4f}"
        )  # fmt: skip
        span = (
            f"{change.increase:{'.3f' if latency else '+.4f'}} [{change.low:.4f}, {change.high:.4f}], p {change.p:.2g}"
        )
        hidden = "" if latency or change.low or change.high or math.isnan(change.low) else (
            f"; no answer differs, up to {change.could_hide:.3f} could not be seen"
        )  # fmt: skip
        sizes = f"{change.n} pictures in {change.clusters} clusters"
        echo(f"{change.name}: {values}, {span}, allowed {change.limit:g}, {sizes}: {change.finding}{hidden}")
    counts = ", ".join(f"{name} {a} -> {b}" for name, (a, b) in found.outcomes.items() if a or b)
    echo(f"outcomes: {counts}")
    echo(f"{found.decision}{': ' if found.reasons else ''}{'; '.join(found.reasons)}")
