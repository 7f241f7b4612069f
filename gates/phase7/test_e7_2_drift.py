"""E7.2 drift triggers: mixing in heavily compressed pictures or a new device class fires the right trigger and
playbook, and a quiet stream does not; the false-alarm rate is stated.

An alarm that never rings and one that always rings are equally ignored. Fails when a planted drift is not reported in
time by its trigger, when another trigger takes its place, or when quiet streams fire more often than stated.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.calibration.binomial_bounds import clopper_pearson_upper as upper_bound
from ecdd.contract.process_sections import Monitoring, Trigger
from ecdd.evaluation.score_table import ScoreTable
from ecdd.evaluation.transforms import UNTOUCHED
from ecdd.monitoring import drift_triggers
from ecdd.monitoring.logger import EventLog
from ecdd.monitoring.playbook import LEVELS, check
from ecdd.monitoring.reference import reference_of, rows_of_scores
from ecdd.monitoring.triggers import TRIGGERS, effects_of, limits_of
from gates.support import drift_figures as figures
from gates.support.field_log import DAY, events_of_rows
from gates.support.fixtures import Bundle, Evidence, PolicyContract
from gates.support.score_tables import Scores
from gates.support.streams import LOOK_EVERY, Plan, Watched, population_effects, watch, with_device

REPETITIONS, CONFIDENCE, SEED = 320, 0.95, 20_072
REFERENCE, QUIET, WATCH = 1000, 1000, 8000
OLD_DEVICES = ("phone_mid", "phone_mid", "phone_mid", "phone_high", "phone_high")
QUIETLY = "quiet"  # in place of a level
HELD_OUT_GENERATOR = "sd3"
# trigger that must fire, share of drifted events
SCENARIOS: dict[str, tuple[Trigger, float]] = {
    "heavy compression 30 %": ("compression_shift", 0.3),
    "heavy compression 100 %": ("compression_shift", 1.0),
    "new device class 30 %": ("device_shift", 0.3),
    "new device class 100 %": ("device_shift", 1.0),
    "new generator 30 %": ("score_shift", 0.3),
    "new generator 50 %": ("score_shift", 0.5),
    "new generator 100 %": ("score_shift", 1.0),
}


def plan_of(name: str, table: ScoreTable, after: int) -> Plan:
    share, untouched = SCENARIOS[name][1], table.of(UNTOUCHED)
    population = with_device(rows_of_scores(untouched), OLD_DEVICES)
    if name.startswith("heavy compression"):
        drifted = with_device(rows_of_scores(table.of("jpeg_30")), OLD_DEVICES)
    elif name.startswith("new device"):
        drifted = with_device(population, ("single_board",))
    else:
        known = [row for row in untouched if row["source"] != HELD_OUT_GENERATOR]
        new = [row for row in untouched if row["source"] == HELD_OUT_GENERATOR]
        population, drifted = (with_device(rows_of_scores(rows), OLD_DEVICES) for rows in (known, new))
    return Plan(population, drifted, share, REFERENCE, QUIET, after)


@pytest.mark.experiment("E7.2")
@pytest.mark.parametrize("reference", [650, 1000])
def test_a_quiet_stream_fires_nothing(
    evidence: Evidence, policy: PolicyContract, scores: Scores, reference: int
) -> None:
    """Also with a reference so small that taking it for the truth would alarm; 650 leaves just enough with a score."""
    knobs, population = policy.monitoring, with_device(rows_of_scores(scores.held_out.of(UNTOUCHED)), OLD_DEVICES)
    seen = watch(Plan(population, population, 0.0, reference, WATCH, 0), knobs, REPETITIONS, SEED + reference)
    fired = np.any([np.isfinite(seen.fired[trigger]) for trigger in TRIGGERS], axis=0)
    alone = np.any([seen.alone[trigger] for trigger in TRIGGERS], axis=0)
    worst = max(TRIGGERS, key=lambda trigger: (np.isfinite(seen.fired[trigger]).sum(), seen.alone[trigger].sum()))
    for name, alarms in (("false_alarms", fired), ("false_alarms_of_evidence_alone", alone)):
        high = upper_bound(int(alarms.sum()), REPETITIONS, CONFIDENCE)
        limit, mean = knobs.false_alarm_rate, alarms.mean()
        evidence.check(f"{name}_upper_bound", high, limit=limit, unit="rate", mean=mean, worst=worst, n=REPETITIONS)
    evidence.measure("reference", reference, "event")
    evidence.measure("watch", WATCH, "event")
    evidence.measure("looks", (WATCH - knobs.drift_min_samples) // LOOK_EVERY + 1, "look")


@pytest.mark.experiment("E7.2")
def test_drift_is_found_in_time(evidence: Evidence, policy: PolicyContract, scores: Scores) -> None:
    """A scenario whose effect on the population stays within the contract's limit is no drift: shown, not held."""
    knobs, drawn = policy.monitoring, {}
    rows: list[dict[str, Any]] = []
    for name, (expected, _) in SCENARIOS.items():
        plan = plan_of(name, scores.held_out, knobs.max_detection_delay)
        seen = watch(plan, knobs, REPETITIONS, SEED)
        drawn[name] = (QUIET, seen.fired)
        effects = population_effects(plan)
        by_trigger = {trigger: _row(name, trigger, effects[trigger], seen, knobs) for trigger in TRIGGERS}
        rows += by_trigger.values()
        key = name.replace(" %", "").replace(" ", "_")
        early = np.any([seen.fired[trigger] <= QUIET for trigger in TRIGGERS], axis=0)
        high = upper_bound(int(early.sum()), REPETITIONS, CONFIDENCE)
        evidence.check(f"{key}_early_alarms", high, limit=knobs.false_alarm_rate, unit="rate", n=REPETITIONS)
        _no_other_trigger(evidence, key, by_trigger, policy)
        mine = by_trigger[expected]
        if mine["effect_over_limit"] <= 1:
            why = f"its effect is {mine['effect_over_limit']:.2f} of the limit: no drift by the contract"
            evidence.not_tested(f"delay of {name} at {expected}", f"{why}; {mine['fired']:.0%} of the streams fired")
            continue
        delay, limit = _quantile(seen.fired[expected] - QUIET, 0.95), knobs.max_detection_delay
        evidence.check(f"{key}_delay_95", delay, limit=limit, unit="event", worst=expected, n=REPETITIONS)
    evidence.table("delays", rows)
    caption = "Every look at every stream; the contract's delay ends each curve. Seeded, pictures held out."
    evidence.figure("detection", figures.detection(drawn, knobs.max_detection_delay), caption)


def _no_other_trigger(
    evidence: Evidence, key: str, by_trigger: Mapping[Trigger, Mapping[str, Any]], policy: PolicyContract
) -> None:
    """Triggers that the drift moves by less than half of their limit stay quiet; the most frequent is named."""
    still = [row for row in by_trigger.values() if row["effect_over_limit"] < 0.5]
    if still:
        worst = max(still, key=lambda row: row["fired"])
        high = upper_bound(round(worst["fired"] * REPETITIONS), REPETITIONS, CONFIDENCE)
        limit, named = policy.monitoring.false_alarm_rate, worst["trigger"]
        evidence.check(f"{key}_wrong_trigger", high, limit=limit, unit="rate", worst=named, n=REPETITIONS)


def _row(name: str, trigger: Trigger, effects: Mapping[str, float], seen: Watched, knobs: Monitoring) -> dict[str, Any]:
    limits = limits_of(trigger, knobs)
    ratio = min(effects[key] / limit for key, limit in limits.items())
    delays = seen.fired[trigger] - QUIET
    shown = ", ".join(f"{key} {value:.3f}" for key, value in effects.items())
    return {
        "scenario": name,
        "trigger": trigger,
        "population_effect": shown,
        "effect_over_limit": ratio,
        "fired": float(np.isfinite(delays).mean()),
        "delay_median": _shown(_quantile(delays, 0.5)),
        "delay_95": _shown(_quantile(delays, 0.95)),
        "playbook": knobs.playbook[trigger],
    }


def _quantile(delays: np.ndarray, share: float) -> float:
    """Smallest delay that this share of all streams keeps; inf where fewer fired at all."""
    return float(np.sort(delays)[math.ceil(share * len(delays)) - 1])


def _shown(delay: float) -> str:
    return f"{delay:.0f}" if math.isfinite(delay) else "not reached"


@pytest.mark.experiment("E7.2")
@pytest.mark.parametrize("name", ["heavy compression 100 %", "new device class 100 %", "new generator 100 %"])
def test_the_playbook_is_named_once_and_escalates(
    evidence: Evidence, policy: PolicyContract, bundle: Bundle, scores: Scores, tmp_path: Path, name: str
) -> None:
    """Through a real log: quiet, drift, quiet, drift again; the contract's level, said once, then the next one."""
    knobs, expected = policy.monitoring, SCENARIOS[name][0]
    plan, digest = plan_of(name, scores.held_out, 0), bundle.payload_digest
    random = np.random.default_rng(SEED)
    quiet = [plan.population[i] for i in random.integers(len(plan.population), size=4 * 1000)]
    drift = [plan.drifted[i] for i in random.integers(len(plan.drifted), size=2 * 800)]
    frozen = reference_of(quiet[:1000], digest, knobs.drift_min_samples)
    parts = [quiet[1000:2000], drift[:800], [], quiet[2000:], drift[800:]]
    first = knobs.playbook[expected]
    second = LEVELS[min(LEVELS.index(first) + 1, len(LEVELS) - 1)]
    wanted = [(QUIETLY, False), (first, True), (first, False), (QUIETLY, False), (second, True)]
    wrong, said, rows = [], [], []
    with EventLog(str(tmp_path / "log.db"), create=True) as log:
        for day, (part, (level, new)) in enumerate(zip(parts, wanted, strict=True)):
            at = DAY + datetime.timedelta(days=day)
            log.append(events_of_rows(part, digest, at))
            alarms = check(log, frozen, knobs, at).alarms
            mine = next((alarm for alarm in alarms if alarm.trigger == expected), None)
            found = QUIETLY if mine is None else mine.level
            if found != level:
                wrong.append(f"check {day + 1}: {found}, expected {level}")
            if (mine is not None and mine.new) != new:
                said.append(f"check {day + 1}")
            firing = ", ".join(sorted(alarm.trigger for alarm in alarms)) or "nothing"
            rows.append({"check": day + 1, "firing": firing, "level": found})
    evidence.none("wrong_playbook_levels", wrong, n=len(wanted), unit="check")
    evidence.none("reported_twice_or_never", said, n=len(wanted), unit="check")
    evidence.table("checks", rows)


@pytest.mark.experiment("E7.2")
@pytest.mark.parametrize("trigger", list(TRIGGERS))
def test_a_trigger_fires_above_its_limit_and_not_at_it(
    evidence: Evidence, policy: PolicyContract, trigger: Trigger
) -> None:
    """Limits that are exactly what the window shows, one at a time, and just below; then one event more and fewer."""
    classes = len(TRIGGERS[trigger].classes((0.25, 0.5, 0.75)))
    reference, window = np.zeros((1, classes), np.int64), np.zeros((1, 1, classes), np.int64)
    reference[0, 0], window[0, 0, 1], starts = 3000, 900, np.array([0])
    reference[0, 1:] = window[0, 0, 0] = 1
    effects = {name: float(of[0]) for name, of in effects_of(trigger, window[:, 0], reference).items()}
    limits, events = TRIGGERS[trigger].limits, int(window.sum())
    below = {knob: math.nextafter(effects[name], -math.inf) for name, knob in limits.items()}
    asked = {"just below": (below | {"drift_min_samples": events}, True, True)}
    asked |= {f"at {k}": (below | {k: effects[n], "drift_min_samples": events}, False, True) for n, k in limits.items()}
    asked["one event missing"] = (below | {"drift_min_samples": events + 1}, False, False)
    wrong = []
    for name, (values, fires, judged) in asked.items():
        found = drift_triggers.look(trigger, window, starts, reference, policy.monitoring.model_copy(update=values))
        if (bool(found.fires[0]), bool(found.judged[0])) != (fires, judged):
            wrong.append(f"{name}: fires {found.fires[0]}, judged {found.judged[0]}")
    evidence.none(f"{trigger}_off_its_limits", wrong, n=len(asked), unit="limit")
