"""Error and abstain rates on sources that the scoring model never saw, and thresholds chosen on such scores (E6.5).

A cross-fitted table holds every picture once, scored by a training that left the picture's source out (its fold). The
logits go through the shipped calibration: the trainings of all folds must score on one scale, which the table cannot
show.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ecdd.calibration.binomial_bounds import Rate, rate
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.metrics import MetricError
from ecdd.calibration.operating_point import Thresholds, choose_thresholds
from ecdd.inference.calibration import AppliedCalibration, probability

if TYPE_CHECKING:
    from ecdd.contract.model_sections import OperatingPoint

CROSS_FITTED_FILE: Final = "cross_fitted_scores.csv"
COLUMNS: Final = ("sha256", "label", "source", "family", "fold", "logit")
REAL, FAKE = 0, 1


@dataclass(frozen=True)
class CrossFittedScore:
    """One picture, scored by a model that did not see its source.

    Attributes
    ----------
    sha256, source, family, fold : str
        File digest; where it comes from; kind of generator (of a real: its source); the training that scored it.
    label : int
        1 fake, 0 real.
    logit : float
        Pooled, before calibration.
    """

    sha256: str
    label: int
    source: str
    family: str
    fold: str
    logit: float

    @property
    def group(self) -> str:
        """What is judged on its own: a family of fakes, a source of reals."""
        return self.family if self.label == FAKE else self.source


@dataclass(frozen=True)
class GroupRates:
    """One left-out family or real source at given thresholds.

    Attributes
    ----------
    group : str
        Name.
    label : int
        1: errors are fakes called real (FNR); 0: reals called fake (FPR).
    error, abstain : Rate
        Of all its pictures.
    """

    group: str
    label: int
    error: Rate
    abstain: Rate


def read_cross_fitted(
    text: str, where: str, left_out: Mapping[str, Collection[str]] | None = None
) -> list[CrossFittedScore]:
    """Read and check a table of cross-fitted scores.

    Parameters
    ----------
    text : str
        CSV with the columns of `COLUMNS`, others are ignored.
    where : str
        File, for messages.
    left_out : mapping of str to collection of str, optional
        Sources that each fold's training never saw, from its record.

    Returns
    -------
    list of CrossFittedScore
        In the order of the digests.

    Raises
    ------
    CalibrationError
        A column is missing, a value is none, a picture stands twice, a source was scored by several folds, or by one
        that had not left it out.
    """
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise CalibrationError(f"{where}: column {missing[0]} is missing; needed are {', '.join(COLUMNS)}")
    rows = [_row(raw, f"{where}, line {number}") for number, raw in enumerate(reader, start=2)]
    _check_folds(rows, where, left_out)
    return sorted(rows, key=lambda row: row.sha256)


def _row(raw: Mapping[str, str | None], where: str) -> CrossFittedScore:
    values = {name: (raw[name] or "").strip() for name in COLUMNS}
    if empty := [name for name, value in values.items() if not value]:
        raise CalibrationError(f"{where}: {empty[0]} is empty")
    if values["label"] not in ("0", "1"):
        raise CalibrationError(f"{where}: label {values['label']!r} is neither 0 (real) nor 1 (fake)")
    try:
        logit = float(values["logit"])
    except ValueError:
        logit = math.nan
    if not math.isfinite(logit):
        raise CalibrationError(f"{where}: logit {values['logit']!r} is no finite number")
    names = (values["source"], values["family"], values["fold"])
    return CrossFittedScore(values["sha256"], int(values["label"]), *names, logit)


def _check_folds(rows: Sequence[CrossFittedScore], where: str, left_out: Mapping[str, Collection[str]] | None) -> None:
    """A score counts as unseen only if the training that made it had left the source out."""
    seen: set[str] = set()
    fold_of: dict[str, str] = {}
    for row in rows:
        if row.sha256 in seen:
            raise CalibrationError(f"{where}: picture {row.sha256[:12]} stands twice; keep the row of its own fold")
        seen.add(row.sha256)
        first = fold_of.setdefault(row.source, row.fold)
        if first != row.fold:
            raise CalibrationError(
                f"{where}: source {row.source} was scored by the folds {first} and {row.fold}; one of them saw it"
            )
        if left_out is not None and row.source not in left_out.get(row.fold, ()):
            raise CalibrationError(
                f"{where}: fold {row.fold} did not leave source {row.source} out, so its scores are no unseen ones"
            )


def probabilities(rows: Sequence[CrossFittedScore], calibration: AppliedCalibration) -> list[float]:
    """P(fake) of each row by the shipped calibration."""
    return [probability(calibration.logit(row.logit)) for row in rows]


def unseen_budget(point: OperatingPoint) -> OperatingPoint:
    """The operating point with the limits for unseen sources in the place of those for known ones."""
    return point.model_copy(
        update={
            "max_fpr": point.unseen_max_fpr,
            "max_fnr": point.unseen_max_fnr,
            "max_abstain_rate": point.unseen_max_abstain_rate,
        }
    )


def cross_fitted_thresholds(
    rows: Sequence[CrossFittedScore], calibration: AppliedCalibration, point: OperatingPoint
) -> Thresholds:
    """Choose thresholds on cross-fitted scores within the limits for unseen sources.

    Raises
    ------
    CalibrationError
        A class is missing.
    """
    try:
        scores, labels = np.array(probabilities(rows, calibration)), np.array([row.label for row in rows], np.int64)
        return choose_thresholds(scores, labels, unseen_budget(point))
    except MetricError as error:
        raise CalibrationError(f"cross-fitted scores: {error}") from error


def thresholds_without(
    rows: Sequence[CrossFittedScore], fold: str, calibration: AppliedCalibration, point: OperatingPoint
) -> Thresholds:
    """Thresholds from the scores of all other folds: what a source meets that neither model nor thresholds saw.

    Raises
    ------
    CalibrationError
        The other folds lack a class.
    """
    return cross_fitted_thresholds([row for row in rows if row.fold != fold], calibration, point)


def group_rates(
    rows: Sequence[CrossFittedScore],
    calibration: AppliedCalibration,
    bands: Mapping[str, tuple[float, float]],
    confidence: float,
) -> list[GroupRates]:
    """Rates of every left-out family and real source.

    Parameters
    ----------
    rows : sequence of CrossFittedScore
        Checked.
    calibration : AppliedCalibration
        Of the bundle.
    bands : mapping of str to (float, float)
        t_real and t_fake by fold.
    confidence : float
        Of the intervals.

    Returns
    -------
    list of GroupRates
        Reals first, by name.
    """
    members: dict[tuple[int, str], list[tuple[float, tuple[float, float]]]] = {}
    for row, p in zip(rows, probabilities(rows, calibration), strict=True):
        members.setdefault((row.label, row.group), []).append((p, bands[row.fold]))
    return [_rates(group, label, scored, confidence) for (label, group), scored in sorted(members.items())]


def _rates(
    group: str, label: int, scored: Sequence[tuple[float, tuple[float, float]]], confidence: float
) -> GroupRates:
    n = len(scored)
    errors = sum(p <= t_real if label == FAKE else p >= t_fake for p, (t_real, t_fake) in scored)
    abstained = sum(t_real < p < t_fake for p, (t_real, t_fake) in scored)
    return GroupRates(group, label, rate(errors, n, confidence), rate(abstained, n, confidence))
