"""The parts of the drift triggers: bounds, learner, starts, windows; and the playbook's memory."""

from __future__ import annotations

import datetime
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecdd.contract.process_sections import Trigger
from ecdd.contract.schema import PolicyContract
from ecdd.monitoring import drift_triggers, playbook
from ecdd.monitoring.logger import EventLog
from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.playbook import check
from ecdd.monitoring.reference import Reference, coded, load, reference_of, save
from ecdd.monitoring.triggers import TRIGGERS, _increase, _kl, _ks, _psi
from gates.support.field_log import DAY, DIGEST, event, events_of_rows

_COUNTS = st.lists(st.integers(0, 200), min_size=4, max_size=4)


def rows(n: int, **changed: Any) -> list[dict[str, Any]]:
    """Events in the columns of the log, with scores all over."""
    base = {
        "label": "abstain",
        "reason_codes": "MD-001",
        "face_confidence": 0.9,
        "compression_proxy": 90.0,
        "device_class": "phone_mid",
    }
    return [{**base, "calibrated_probability": (37 * i % 101) / 100, **changed} for i in range(n)]


@given(_COUNTS, _COUNTS, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_the_supremum_is_never_too_small(counts: list[int], reference: list[int], seed: int) -> None:
    """No distribution of the ball gives the counts more than the bound; else evidence would be claimed that is none."""
    if not sum(reference):
        return
    seen, known = np.array(counts), np.array(reference, dtype=float)
    ball = drift_triggers.radius(known.sum(), 4, 0.01)
    bound = drift_triggers.log_supremum(seen, known, ball)
    near = known / known.sum()
    tried = np.random.default_rng(seed).dirichlet(known + 0.5, size=4000)
    mixed = np.array([(seen + k * near + 1e-9) for k in np.geomspace(1e-3, 1e5, 60)])
    tried = np.concatenate([tried, mixed / mixed.sum(axis=1, keepdims=True)])
    inside = np.where(near > 0, near * np.log(np.where(near > 0, near, 1) / tried), 0).sum(axis=1) <= ball
    likelihood = (seen * np.log(tried)).sum(axis=1)[inside]
    assert likelihood.max(initial=-math.inf) <= bound + 1e-6


def test_each_of_many_references_is_taken_by_itself() -> None:
    counts, references = np.array([[3, 9, 4], [8, 1, 2]]), np.array([[10.0, 30.0, 5.0], [2.0, 2.0, 2.0]])
    balls = np.array([0.02, 0.1])
    together = drift_triggers.log_supremum(counts, references, balls)
    alone = [float(drift_triggers.log_supremum(*each)) for each in zip(counts, references, balls, strict=True)]
    assert together.tolist() == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize(("n", "classes", "alpha"), [(50, 4, 0.05), (650, 10, 0.05), (500, 2, 0.02)])
def test_the_ball_holds_the_truth(n: int, classes: int, alpha: float) -> None:
    random = np.random.default_rng(5)
    truth = random.dirichlet(np.ones(classes))
    share = random.multinomial(n, truth, size=4000) / n
    distance = np.where(share > 0, share * np.log(np.where(share > 0, share, 1) / truth), 0).sum(axis=1)
    assert (distance > drift_triggers.radius(n, classes, alpha)).mean() <= alpha


@pytest.mark.parametrize("classes", [2, 4, 10])
@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_the_radius_solves_its_equation(classes: int, alpha: float) -> None:
    """Chernoff's bound of a chi-square of (classes - 1) degrees, halved: exp(-r) (e r / d)^d = alpha beyond d."""
    degrees, found = classes - 1, 250 * drift_triggers.radius(250, classes, alpha)
    assert found > degrees
    assert -found + degrees * (1 + math.log(found / degrees)) == pytest.approx(math.log(alpha), abs=1e-9)


def test_alarms_are_shared_by_evidence_and_ball_of_every_trigger(policy: PolicyContract) -> None:
    each = drift_triggers.shared_alpha(policy.monitoring)
    assert each * 2 * len(TRIGGERS) == pytest.approx(policy.monitoring.false_alarm_rate)


def test_distances_of_shares_by_hand() -> None:
    """So many events that what keeps a class from being empty does not count."""
    window, reference = np.array([[3, 1]]) * 10**9, np.array([[1, 1]]) * 10**9
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    psi = 0.25 * math.log(1.5) - 0.25 * math.log(0.5)
    assert [one(window, reference)[0] for one in (_kl, _psi, _ks)] == pytest.approx([kl, psi, 0.25])


def test_an_increase_is_of_shares() -> None:
    found = _increase(np.array([[1, 3], [2, 2]]), np.array([[10, 10], [0, 8]]))
    assert found.tolist() == [0.25, -0.5]


def test_the_learner_is_a_probability() -> None:
    whole = 0.0
    for sequence in itertools.product(range(3), repeat=5):
        whole += math.exp(drift_triggers.log_learner(np.bincount(sequence, minlength=3)[None])[0])
    assert whole == pytest.approx(1)


def test_starts_are_fixed_by_ids_so_that_a_purge_changes_nothing() -> None:
    random = np.random.default_rng(1)
    codes, ids = random.integers(-1, 3, size=(2, 1000)), np.sort(random.choice(5000, 1000, replace=False)) + 1
    whole, starts = drift_triggers.since_starts(codes, ids, 0, 3)
    kept = ids > 2300
    rest, later = drift_triggers.since_starts(codes[:, kept], ids[kept], 0, 3)
    same = np.isin(starts, later[1:])
    assert (starts[same] == later[1:]).all()
    assert (whole[:, same] == rest[:, 1:]).all()
    for place, start in enumerate(starts):
        tail = codes[:, ids > start * drift_triggers.START_STEP]
        assert (whole[:, place] == np.stack([(tail == k).sum(axis=1) for k in range(3)], axis=1)).all()


def test_every_start_costs_and_all_together_cost_one() -> None:
    starts = np.arange(100_000)
    assert 0.99 < (1 / ((starts + 1.0) * (starts + 2.0))).sum() <= 1


def test_too_few_events_are_not_judged(policy: PolicyContract) -> None:
    knobs = policy.monitoring
    reference = reference_of(rows(700), DIGEST, knobs.drift_min_samples)
    few = rows(knobs.drift_min_samples - 1, device_class="tablet")
    found = drift_triggers.judge(coded(few, reference.score_edges), np.arange(1, len(few) + 1), reference, knobs)
    assert not any(finding.judged or finding.fires for finding in found)
    assert all("needed are 500" in finding.why for finding in found)
    unscored = [{**row, "calibrated_probability": None} for row in rows(2000)]
    found = drift_triggers.judge(coded(unscored, reference.score_edges), np.arange(1, 2001), reference, knobs)
    assert {finding.trigger for finding in found if not finding.judged} == {"score_shift"}


@pytest.mark.parametrize(("beyond", "fires"), [(0.0, True), (-1e-9, False)])
def test_evidence_fires_from_its_limit_on(
    beyond: float, fires: bool, policy: PolicyContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ville's inequality is of reaching 1 / alpha, not of going beyond it."""
    knobs, reference = policy.monitoring, reference_of(rows(700), DIGEST, 500)
    reached = np.array([-math.log(drift_triggers.shared_alpha(knobs)) + beyond])
    monkeypatch.setattr(drift_triggers, "log_evidence", lambda *_: reached)
    codes = coded(rows(1000, device_class="tablet"), reference.score_edges)
    found = drift_triggers.judge(codes, np.arange(1, 1001), reference, knobs)
    assert [finding.fires for finding in found if finding.trigger == "device_shift"] == [fires]


def test_a_reference_without_devices_judges_none(policy: PolicyContract) -> None:
    reference = reference_of(rows(700, device_class="unknown"), DIGEST, 500)
    assert sum(reference.counts["device_shift"]) == 0
    stream = rows(1000, device_class="tablet")
    found = drift_triggers.judge(coded(stream, reference.score_edges), np.arange(1, 1001), reference, policy.monitoring)
    assert [finding.trigger for finding in found if not finding.judged] == ["device_shift"]


def test_one_score_for_all_is_a_reference_of_few_classes() -> None:
    reference = reference_of(rows(700, calibrated_probability=0.5), DIGEST, 500)
    assert sum(reference.counts["score_shift"]) == 700
    assert len(TRIGGERS["score_shift"].classes(reference.score_edges)) == 2


def test_references_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(MonitoringError, match=r"needs 500 events.*here are 3"):
        reference_of(rows(3), DIGEST, 500)
    with pytest.raises(MonitoringError, match="none of the 600 events has a probability"):
        reference_of(rows(600, calibrated_probability=None), DIGEST, 500)
    path = tmp_path / "reference.json"
    reference = reference_of(rows(600), DIGEST, 500)
    save(reference, path)
    assert load(path) == reference
    content = json.loads(path.read_text())
    for key, value in (("score_edges", [0.5, 0.1]), ("counts", {"score_shift": [1]}), ("bundle_digest", "x"),
                       ("format", 2)):  # fmt: skip
        path.write_text(json.dumps(content | {key: value}))
        with pytest.raises(MonitoringError, match="is no reference"):
            load(path)
    path.write_bytes(b"\x00\xff")
    with pytest.raises(MonitoringError, match="is no reference"):
        load(path)


def test_a_trigger_that_reads_what_is_not_logged_is_not_judged(tmp_path: Path, policy: PolicyContract) -> None:
    knobs = policy.monitoring
    fields = [name for name in knobs.logged_fields if name != "device_class"]
    reference = reference_of(rows(700), DIGEST, 500)
    with EventLog(str(tmp_path / "log.db"), fields, create=True) as log:
        log.append(events_of_rows(rows(600), DIGEST, DAY))
        found = {finding.trigger: finding for finding in check(log, reference, knobs, DAY).findings}
    left_out = found["device_shift"]
    assert left_out.why == "monitoring.logged_fields lacks device_class"
    assert (left_out.judged, left_out.fires, left_out.events, left_out.effects) == (False, False, 0, {})
    assert all(found[name].judged for name in TRIGGERS if name != "device_shift")


def test_a_reference_from_elsewhere_is_watched_from_the_first_event_on(tmp_path: Path, policy: PolicyContract) -> None:
    reference = reference_of(rows(700), DIGEST, 500)
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        log.append(events_of_rows(rows(600), DIGEST, DAY))
        assert check(log, reference, policy.monitoring, DAY).events == 600


def test_a_trigger_that_fires_again_after_the_time_begins_anew(tmp_path: Path, policy: PolicyContract) -> None:
    knobs, at = policy.monitoring, DAY
    reference = reference_of(rows(700), DIGEST, 500)
    levels = []
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        for device, days in (("tablet", 1), ("phone_mid", 1), ("tablet", 2), ("phone_mid", 40), ("tablet", 0)):
            log.append(events_of_rows(rows(800, device_class=device), DIGEST, at))
            done = check(log, reference, knobs, at)
            levels.append([alarm.level for alarm in done.alarms])
            at += datetime.timedelta(days=days)
    assert levels == [["recalibrate"], [], ["augment_retrain"], [], ["recalibrate"]]


def test_an_alarm_ends_once_enough_events_came_after_it(
    tmp_path: Path, policy: PolicyContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = policy.monitoring
    reference = reference_of(rows(700), DIGEST, 500)
    cleared = []
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        log.append(events_of_rows(rows(800, device_class="tablet"), DIGEST, DAY))
        (alarm,) = check(log, reference, knobs, DAY).alarms
        really = playbook.judge
        monkeypatch.setattr(playbook, "judge", lambda *known: [replace(one, fires=False) for one in really(*known)])
        for more in (knobs.drift_min_samples - 1, 1):
            log.append(events_of_rows(rows(more), DIGEST, DAY))
            cleared.append(check(log, reference, knobs, DAY).cleared)
    assert cleared == [(), (alarm.trigger,)]


def test_a_drift_that_nobody_looked_at_in_time_is_still_seen_while_it_lasts(
    tmp_path: Path, policy: PolicyContract
) -> None:
    reference = reference_of(rows(700), DIGEST, 500)
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        log.append(events_of_rows(rows(9000, compression_proxy=30.0), DIGEST, DAY))
        done = check(log, reference, policy.monitoring, DAY)
    assert [alarm.trigger for alarm in done.alarms] == ["compression_shift"]
    assert done.events == policy.monitoring.max_detection_delay


def test_the_reference_model_is_whole() -> None:
    reference = reference_of(rows(700), DIGEST, 500)
    assert Reference.model_validate_json(reference.model_dump_json()) == reference
    assert tuple(reference.counts) == tuple(TRIGGERS) == get_args(Trigger)
    assert event().bundle_digest == DIGEST
