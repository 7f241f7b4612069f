"""The release battery over a score table: transforms against the untouched pictures, shortcuts, and scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecdd.calibration.bootstrap import Interval
from ecdd.calibration.metrics import Floats, Labels, MetricError
from ecdd.contract.model_sections import OperatingPoint
from ecdd.evaluation.intervals import Indices, interval
from ecdd.evaluation.metrics import (
    AtOperatingPoint,
    Row,
    at_operating_point,
    kolmogorov_smirnov,
    population_stability,
    reached_model,
)
from ecdd.evaluation.score_table import SCORED, ScoreTable
from ecdd.evaluation.transforms import UNTOUCHED

SHORTCUTS = ("container_flip", "metadata_only")


@dataclass(frozen=True)
class TransformResult:
    """One transform against the untouched pictures.

    Attributes
    ----------
    measured : AtOperatingPoint
        Of the transformed pictures.
    fpr_increase, fnr_increase : float or None
        Over the same pictures untouched; None where no picture of the class reached the model both times.
    pairs_real, pairs_fake : int
        Pictures behind the increases.
    mean_shift, ks, psi : float or None
        Of the probabilities of those pictures.
    intervals : mapping of str to Interval
        Bootstrap intervals of all five, pictures drawn in pairs; those that are None have none.
    """

    name: str
    measured: AtOperatingPoint
    fpr_increase: float | None
    fnr_increase: float | None
    pairs_real: int
    pairs_fake: int
    mean_shift: float | None
    ks: float | None
    psi: float | None
    intervals: Mapping[str, Interval]


def measure_transforms(table: ScoreTable, point: OperatingPoint) -> list[TransformResult]:
    """Measure every transform of a table, in its order, the untouched pictures too.

    Parameters
    ----------
    table : ScoreTable
        With the suite's rows.
    point : OperatingPoint
        Thresholds.

    Returns
    -------
    list of TransformResult
        One a transform.
    """
    untouched = {row["index"]: row for row in reached_model(table.of(UNTOUCHED))}
    return [_against(untouched, name, table.of(name), point) for name in table.plan.transforms]


def _against(untouched: dict[int, Row], name: str, rows: Sequence[Row], point: OperatingPoint) -> TransformResult:
    after = [row for row in reached_model(rows) if row["index"] in untouched]
    before = [untouched[row["index"]] for row in after]
    earlier, later = at_operating_point(before, point), at_operating_point(after, point)
    p, q = (np.array([row["probability"] for row in part], np.float64) for part in (before, after))
    labels = np.array([row["label"] for row in after], np.int64)
    some = len(after) > 0
    return TransformResult(
        name=name,
        measured=at_operating_point(rows, point),
        fpr_increase=_increase(earlier.fpr.value, later.fpr.value),
        fnr_increase=_increase(earlier.fnr.value, later.fnr.value),
        pairs_real=later.fpr.n,
        pairs_fake=later.fnr.n,
        mean_shift=float((q - p).mean()) if some else None,
        ks=kolmogorov_smirnov(p, q) if some else None,
        psi=population_stability(p, q) if some else None,
        intervals=_paired_intervals(p, q, labels, point) if some else {},
    )


def _paired_intervals(p: Floats, q: Floats, labels: Labels, point: OperatingPoint) -> dict[str, Interval]:
    """Intervals of what a transform does; a pair stays a pair, so that what a picture is cancels out."""
    reals, fakes = labels == 0, labels == 1
    more_fp = (q >= point.t_fake).astype(np.float64) - (p >= point.t_fake)
    more_fn = (q <= point.t_real).astype(np.float64) - (p <= point.t_real)
    measures: dict[str, Callable[[Indices], float]] = {
        "mean_shift": lambda at: float((q[at] - p[at]).mean()),
        "ks": lambda at: kolmogorov_smirnov(p[at], q[at]),
        "psi": lambda at: population_stability(p[at], q[at]),
    }
    if reals.any():
        measures["fpr_increase"] = lambda at: float(more_fp[at][reals[at]].mean())
    if fakes.any():
        measures["fnr_increase"] = lambda at: float(more_fn[at][fakes[at]].mean())
    return {name: interval(measure, labels, point.confidence) for name, measure in measures.items()}


def _increase(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


@dataclass(frozen=True)
class Flips:
    """Pictures whose verdict changes though only the container or the metadata did."""

    name: str
    changed: tuple[str, ...]
    reversed: tuple[str, ...]
    n: int
    largest_difference: float

    @property
    def share(self) -> float:
        """Share of changed verdicts."""
        return len(self.changed) / self.n


def shortcut_flips(table: ScoreTable, name: str) -> Flips:
    """Compare verdicts of the untouched pictures in scope with those of a shortcut test.

    Raises
    ------
    MetricError
        No picture was scored both times.
    """
    after = {row["index"]: row for row in table.of(name)}
    pairs = [
        (row, after[row["index"]])
        for row in table.of(UNTOUCHED)
        if row["scope"] == "face" and row["outcome"] == SCORED == after[row["index"]]["outcome"]
    ]
    if not pairs:
        msg = f"{name}: no picture was scored with and without it"
        raise MetricError(msg)
    changed = tuple(a["path"] for a, b in pairs if a["verdict"] != b["verdict"])
    reverse = tuple(a["path"] for a, b in pairs if {a["verdict"], b["verdict"]} == {"real", "fake"})
    both = [
        abs(a["probability"] - b["probability"]) for a, b in pairs if None not in (a["probability"], b["probability"])
    ]
    return Flips(name, changed, reverse, len(pairs), max(both, default=0.0))


def format_by_class(rows: Sequence[Row]) -> list[dict[str, str | int]]:
    """Containers by class: where one class has a container of its own, a model can learn the container."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        kind = {0: "real", 1: "fake"}.get(row["label"], "out of scope")
        key = (row["container"] or "none", kind)
        counts[key] = counts.get(key, 0) + 1
    return [{"container": c, "class": k, "pictures": n} for (c, k), n in sorted(counts.items())]


def leaks(rows: Sequence[Row]) -> list[Row]:
    """Pictures out of scope that got a verdict: each is one that should have abstained."""
    return [row for row in rows if row["scope"] != "face" and row["verdict"] != "abstain"]
