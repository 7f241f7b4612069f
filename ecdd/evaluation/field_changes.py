"""Decisions that a mistake of the field's pixels changes (E6.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ecdd.calibration.metrics import MetricError
from ecdd.evaluation.score_table import ScoreTable
from ecdd.evaluation.transforms import UNTOUCHED

REAL, FAKE = 0, 1


@dataclass(frozen=True)
class TwiceJudged:
    """One face picture, judged as it is and transformed.

    Attributes
    ----------
    name : str
        Of the picture.
    label : int
        1 fake, 0 real.
    before, after : str
        Verdicts: ``real``, ``fake``, ``abstain``, or the outcome of a picture that got none.
    """

    name: str
    label: int
    before: str
    after: str

    @property
    def text(self) -> str:
        """For a list of worst samples."""
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class FieldChanges:
    """What one transform does to the decisions.

    Attributes
    ----------
    reals, fakes : int
        Pictures, decided or not.
    changed : tuple of TwiceJudged
        Every verdict that differs.
    fake_to_real, real_to_fake : tuple of TwiceJudged
        Pictures that are called wrongly after the transform and were not before.
    """

    reals: int
    fakes: int
    changed: tuple[TwiceJudged, ...]
    fake_to_real: tuple[TwiceJudged, ...]
    real_to_fake: tuple[TwiceJudged, ...]

    @property
    def fake_to_real_rate(self) -> float:
        """Of all fakes; those that were called real already are no change, and stay in the denominator."""
        return len(self.fake_to_real) / self.fakes

    @property
    def real_to_fake_rate(self) -> float:
        """Of all reals."""
        return len(self.real_to_fake) / self.reals


def changes(pictures: Sequence[TwiceJudged]) -> FieldChanges:
    """Count changed decisions.

    Parameters
    ----------
    pictures : sequence of TwiceJudged
        Of both classes.

    Returns
    -------
    FieldChanges
        Of one transform.

    Raises
    ------
    MetricError
        A class is missing: its rate would be of nothing.
    """
    reals, fakes = (sum(one.label == label for one in pictures) for label in (REAL, FAKE))
    if not reals or not fakes:
        msg = f"{reals} reals and {fakes} fakes: changed decisions need pictures of both classes"
        raise MetricError(msg)
    changed = tuple(one for one in pictures if one.before != one.after)
    return FieldChanges(
        reals=reals,
        fakes=fakes,
        changed=changed,
        fake_to_real=tuple(one for one in changed if one.label == FAKE and one.after == "real"),
        real_to_fake=tuple(one for one in changed if one.label == REAL and one.after == "fake"),
    )


def twice_judged(table: ScoreTable, transform: str) -> list[TwiceJudged]:
    """Pair the rows of a transform with the untouched ones; faces only, by index.

    Parameters
    ----------
    table : ScoreTable
        Of the field suite.
    transform : str
        Its name.

    Returns
    -------
    list of TwiceJudged
        In the order of the table; a picture that was missing or broken both times has the outcome as its verdict.
    """
    after = {row["index"]: row for row in table.of(transform)}
    return [
        TwiceJudged(row["path"], row["label"], _said(row), _said(after[row["index"]]))
        for row in _labelled(table.of(UNTOUCHED))
    ]


def _labelled(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["scope"] == "face" and row["label"] in (REAL, FAKE)]


def _said(row: dict[str, Any]) -> str:
    return str(row["verdict"] or row["outcome"])
