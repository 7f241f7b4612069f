"""E6.5 unseen sources: thresholds come from scores of sources that the scoring model never saw; FPR, FNR and
abstain rate of every left-out family and real source, worst named, keep the contract's limits for unseen sources.

The next fake comes from a generator that nobody trained on, and a threshold set on known ones promises too much. Fails
when a group's rate exceeds its limit, when the contract decides more boldly than the cross-fitted scores allow, or when
a score of a source that the model saw is taken for an unseen one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.unseen_sources import (
    CROSS_FITTED_FILE,
    FAKE,
    REAL,
    CrossFittedScore,
    GroupRates,
    cross_fitted_thresholds,
    group_rates,
    read_cross_fitted,
    thresholds_without,
)
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration
from gates.support.fixtures import Bundle, Evidence, NotTested, PolicyContract
from gates.support.shown_rates import shown_rate

RECORD = "training_record.json"
HEAD = "sha256,label,source,family,fold,logit\n"
FOLDS = {"a": ("cam", "gan"), "b": ("web", "swap")}


@pytest.fixture
def cross_fitted(bundle: Bundle) -> str:
    """The bundle's table; without one nothing of this clause is tested, however well its machinery works."""
    if CROSS_FITTED_FILE not in bundle.manifest.files:
        why = f"the bundle has no {CROSS_FITTED_FILE}: train with folds and store their scores in it"
        raise NotTested("sources that the model never saw", why)
    return bundle.read(CROSS_FITTED_FILE).decode()


@pytest.mark.experiment("E6.5")
def test_unseen_sources_keep_the_limits(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, cross_fitted: str
) -> None:
    """Once at the contract's thresholds, once at those of the other folds, which the group cannot have influenced."""
    evidence.not_tested("scores of unseen sources", "unverified: the models that gave them are not in the bundle")
    rows = read_cross_fitted(cross_fitted, CROSS_FITTED_FILE, _left_out(bundle))
    point, calibration = policy.operating_point, AppliedCalibration.of(bundle.calibration)
    folds = sorted({row.fold for row in rows})
    chosen = cross_fitted_thresholds(rows, calibration, point)
    evidence.check(
        "t_fake_below_cross_fitted", chosen.t_fake - point.t_fake, limit=0.0, unit="probability", n=len(rows)
    )
    evidence.check(
        "t_real_above_cross_fitted", point.t_real - chosen.t_real, limit=0.0, unit="probability", n=len(rows)
    )
    others = {fold: thresholds_without(rows, fold, calibration, point) for fold in folds}
    bands = {
        "contract": dict.fromkeys(folds, (point.t_real, point.t_fake)),
        "other_folds": {fold: (found.t_real, found.t_fake) for fold, found in others.items()},
    }
    for name, band in bands.items():
        _hold(evidence, policy, name, group_rates(rows, calibration, band, point.confidence))


def _hold(evidence: Evidence, policy: PolicyContract, name: str, groups: list[GroupRates]) -> None:
    point, enough = policy.operating_point, policy.evaluation.min_group_pictures
    judged = [one for one in groups if one.error.n >= enough]
    limits = {REAL: ("fpr", point.unseen_max_fpr), FAKE: ("fnr", point.unseen_max_fnr)}
    for label, (error, limit) in limits.items():
        mine = [one for one in judged if one.label == label]
        worst = max(mine, key=lambda one: one.error.value or 0.0, default=None)
        value, names = (None, []) if worst is None else (worst.error.value, [worst.group])
        evidence.check(f"{name}_{error}", value, limit=limit, unit="rate", worst=names, n=len(mine),
                       clause=f"operating_point.unseen_max_{error}")  # fmt: skip
    undecided = max(judged, key=lambda one: one.abstain.value or 0.0, default=None)
    value, names = (None, []) if undecided is None else (undecided.abstain.value, [undecided.group])
    evidence.check(f"{name}_abstain", value, limit=point.unseen_max_abstain_rate, unit="rate", worst=names,
                   n=len(judged), clause="operating_point.unseen_max_abstain_rate")  # fmt: skip
    for one in groups:
        if one.error.n < enough:
            evidence.not_tested(f"unseen {one.group}", f"{one.error.n} pictures, {enough} are needed")
    evidence.table(f"{name}_groups", [_shown(one) for one in groups])


def _shown(one: GroupRates) -> dict[str, object]:
    return {
        "group": one.group,
        "class": "fake" if one.label == FAKE else "real",
        "pictures": one.error.n,
        "error rate": shown_rate(one.error),
        "abstain rate": shown_rate(one.abstain),
    }


def _left_out(bundle: Bundle) -> Mapping[str, Collection[str]]:
    """Sources that each training never saw, as the bundle's training record says; folds may be of an earlier stage."""
    record = json.loads(bundle.read(RECORD)) if RECORD in bundle.manifest.files else {}
    trainings: dict[str, dict[str, Any]] = {}
    while record:
        trainings = {**record.get("trainings", {}), **trainings}
        record = record.get("begun_from")
    parts = {name: training.get("left_out") or {} for name, training in trainings.items()}
    return {name: [*part.get("fake_sources", []), *part.get("real_sources", [])] for name, part in parts.items()}


def _rows(**shift: float) -> list[CrossFittedScore]:
    """Two folds of four hundred pictures on a fixed grid of logits; ``shift`` moves all of one fold."""
    rows = []
    for fold, (real, fake) in FOLDS.items():
        for label, source in ((REAL, real), (FAKE, fake)):
            for number in range(200):
                logit = (3.0 if label else -3.0) + number / 50 - 2 + shift.get(fold, 0.0)
                rows.append(CrossFittedScore(f"{source}-{number:03d}", label, source, source, fold, logit))
    return rows


@pytest.mark.usefixtures("cross_fitted")
@pytest.mark.experiment("E6.5")
def test_a_source_has_no_part_in_its_own_thresholds(evidence: Evidence, policy: PolicyContract) -> None:
    """Whatever the scores of a fold, the thresholds that it is judged by stay; those of the other fold move."""
    seen, unmoved = [], []
    for fold, other in (("a", "b"), ("b", "a")):
        for shift in (-4.0, 2.0):
            before, after = _rows(), _rows(**{fold: shift})
            own, others = (
                [thresholds_without(rows, name, UNCALIBRATED, policy.operating_point) for rows in (before, after)]
                for name in (fold, other)
            )
            seen += [f"{fold} moved by {shift}"] if own[0] != own[1] else []
            unmoved += [f"{fold} moved by {shift}"] if others[0] == others[1] else []
    evidence.none("thresholds_that_saw_their_source", seen, n=4, unit="case")
    evidence.none("thresholds_blind_to_the_others", unmoved, n=4, unit="case")


@pytest.mark.usefixtures("cross_fitted")
@pytest.mark.experiment("E6.5")
def test_rates_are_counted_per_group(evidence: Evidence) -> None:
    """Ten pictures whose errors and abstentions were counted by hand."""
    logits = {"cam": (REAL, (-3, -2, 0, 1, 3)), "gan": (FAKE, (-3, 0, 0.5, 3, 4))}
    rows = [
        CrossFittedScore(f"{source}{number}", label, source, source, "a", logit)
        for source, (label, values) in logits.items()
        for number, logit in enumerate(values)
    ]
    found = group_rates(rows, UNCALIBRATED, {"a": (0.1, 0.9)}, 0.95)
    counted = [(one.group, one.error.events, one.abstain.events) for one in found]
    expected = [("cam", 1, 3), ("gan", 1, 2)]
    wrong = [f"{got}, not {must}" for got, must in zip(counted, expected, strict=True) if got != must]
    evidence.none("groups_counted_wrongly", wrong, n=len(expected), unit="group")


@pytest.mark.usefixtures("cross_fitted")
@pytest.mark.experiment("E6.5")
def test_scores_of_known_sources_are_refused(evidence: Evidence) -> None:
    """Each table has one defect, and the message names it."""
    good = HEAD + "1,0,cam,cam,a,-1.0\n2,1,gan,gan,a,1.0\n3,0,web,web,b,-2.0\n"
    cases = {
        "a fold that saw the source": good + "4,1,swap,swap,a,1.0\n",
        "a training without folds": good + "4,1,swap,swap,shipped,1.0\n",
        "one source in two folds": good + "4,1,gan,gan,b,1.0\n",
        "a picture twice": good + "2,1,gan,gan,a,0.5\n",
        "no number": good + "4,1,swap,swap,b,nan\n",
        "no label": good + "4,2,swap,swap,b,1.0\n",
        "no fold": good + "4,1,swap,swap,,1.0\n",
        "no column": good.replace("fold", "training"),
    }
    accepted = []
    for name, text in cases.items():
        try:
            read_cross_fitted(text, "table.csv", FOLDS)
        except CalibrationError:
            continue
        accepted.append(name)
    evidence.none("tables_of_known_sources_accepted", accepted, n=len(cases), unit="table")
    evidence.check("rows_of_a_good_table", len(read_cross_fitted(good, "t", FOLDS)), limit=3, op="==", unit="row")
