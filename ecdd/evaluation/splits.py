"""Groups of a score table by its columns. A split whose column is empty is not claimed, never passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ecdd.contract.model_sections import OperatingPoint
from ecdd.evaluation.metrics import AtOperatingPoint, Row, at_operating_point, reached_model

GroupSplit = Literal["source", "device", "platform", "compression"]
_QUALITY_STEPS: Final = ((90, "JPEG 90 and above"), (75, "JPEG 75 to 89"), (50, "JPEG 50 to 74"), (0, "JPEG below 50"))
NO_QUALITY: Final = "no JPEG quality"


def _compression(row: Row) -> str:
    quality = row["jpeg_quality"]
    if quality is None:
        return NO_QUALITY
    return next(name for least, name in _QUALITY_STEPS if quality >= least)


_KEYS: Final[Mapping[str, Callable[[Row], str | None]]] = {
    "source": lambda row: row["source"],
    "device": lambda row: row["device"],
    "platform": lambda row: row["platform"],
    "compression": _compression,
}


@dataclass(frozen=True)
class Group:
    """One group; ``judged_fpr`` and ``judged_fnr`` say whether it has enough pictures of that class."""

    split: GroupSplit
    name: str
    measured: AtOperatingPoint
    judged_fpr: bool
    judged_fnr: bool


@dataclass(frozen=True)
class Worst:
    """The group whose error rate exceeds that of all pictures the most."""

    name: str
    increase: float
    n: int


def members(rows: Sequence[Row], split: GroupSplit, name: str) -> list[Row]:
    """Rows in scope of one group."""
    return [row for row in rows if row["scope"] == "face" and _KEYS[split](row) == name]


def groups(rows: Sequence[Row], split: GroupSplit, point: OperatingPoint, least: int) -> list[Group]:
    """Measure every group of a split.

    Parameters
    ----------
    rows : sequence of mapping
        Of one transform.
    split : str
        Which column; pictures out of scope are in no group.
    point : OperatingPoint
        Thresholds.
    least : int
        Pictures of a class that reached the model, from which on its error rate is judged.

    Returns
    -------
    list of Group
        By name; empty when no row has the column.
    """
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        name = _KEYS[split](row)
        if name is not None and row["scope"] == "face":
            by_name.setdefault(name, []).append(row)
    found = []
    for name in sorted(by_name):
        measured = at_operating_point(by_name[name], point)
        found.append(Group(split, name, measured, measured.fpr.n >= least, measured.fnr.n >= least))
    return found


def worst_group(found: Sequence[Group], everything: AtOperatingPoint, error: Literal["fpr", "fnr"]) -> Worst | None:
    """Name the group with the largest increase of an error rate; None when no group is large enough."""
    overall = getattr(everything, error).value
    judged = [group for group in found if getattr(group, f"judged_{error}")]
    if overall is None or not judged:
        return None
    increases = [(getattr(g.measured, error).value - overall, g) for g in judged]
    increase, group = max(increases, key=lambda pair: pair[0])
    return Worst(f"{group.split} {group.name}", float(increase), getattr(group.measured, error).n)


@dataclass(frozen=True)
class TimeSplit:
    """Reals up to a year and reals after it."""

    year: int
    earlier: tuple[Row, ...]
    later: tuple[Row, ...]


def time_split(calibration: Sequence[Row], held_out: Sequence[Row], least: int) -> TimeSplit | None:
    """Calibrate on earlier, test on later: cut the reals of known year where both sides are largest.

    Parameters
    ----------
    calibration, held_out : sequence of mapping
        Earlier pictures may be of both, later ones are held out only: what a threshold has seen is never called later.
    least : int
        Pictures that each side needs.

    Returns
    -------
    TimeSplit or None
        None when no year leaves enough on both sides.
    """
    old, new = (
        [row for row in reached_model(rows) if row["label"] == 0 and row["year"]] for rows in (calibration, held_out)
    )
    best: TimeSplit | None = None
    for year in sorted({row["year"] for row in new}):
        earlier = tuple(row for row in (*old, *new) if row["year"] <= year)
        later = tuple(row for row in new if row["year"] > year)
        size = min(len(earlier), len(later))
        if size >= least and (best is None or size > min(len(best.earlier), len(best.later))):
            best = TimeSplit(year, earlier, later)
    return best
