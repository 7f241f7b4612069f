"""Streams of real pictures' events, many at once: a reference is drawn, a quiet stretch, then a drift is mixed in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecdd.monitoring import drift_triggers
from ecdd.monitoring.reference import Reference, coded, counts_of, reference_of, score_edges_of
from ecdd.monitoring.triggers import TRIGGERS, effects_of

Rows = Sequence[Mapping[str, Any]]
DIGEST = "0" * 64
LOOK_EVERY = 100


@dataclass(frozen=True)
class Plan:
    """One kind of stream.

    Attributes
    ----------
    population, drifted : sequence of mapping
        Events that streams draw from, before and after the change.
    share : float
        Of drifted events after the change.
    reference : int
        Events that the reference is made of, drawn anew for every repetition.
    quiet, after : int
        Events before the change and after it.
    """

    population: Rows
    drifted: Rows
    share: float
    reference: int
    quiet: int
    after: int


@dataclass(frozen=True)
class Watched:
    """What the triggers did, by trigger; arrays of shape (repetitions,).

    Attributes
    ----------
    fired : dict
        Event of the stream at which it first fired; inf where it never did.
    alone : dict
        Whether the evidence alone, without the effect limits, ever reached its limit.
    """

    fired: dict[str, np.ndarray]
    alone: dict[str, np.ndarray]


def with_device(rows: Rows, devices: Sequence[str]) -> list[dict[str, Any]]:
    """Give pictures device classes, in turn."""
    return [{**row, "device_class": devices[i % len(devices)]} for i, row in enumerate(rows)]


def drawn_streams(plan: Plan, repetitions: int, seed: int) -> tuple[dict[str, list[np.ndarray]], dict[str, list[Any]]]:
    """Draw references and streams; classes by trigger and repetition, and the reference's counts."""
    random = np.random.default_rng(seed)
    streams: dict[str, list[np.ndarray]] = {trigger: [] for trigger in TRIGGERS}
    counts: dict[str, list[Any]] = {trigger: [] for trigger in TRIGGERS}
    both = [*plan.population, *plan.drifted]
    classes = coded(both, ())  # those of the scores follow each reference's own edges, all others are the events'
    scores = np.array([row["calibrated_probability"] for row in both], np.float64)  # NaN where there is none
    for _ in range(repetitions):
        taken = random.integers(len(plan.population), size=plan.reference)
        edges = score_edges_of(scores[taken][np.isfinite(scores[taken])])
        places = random.integers(len(plan.population), size=plan.quiet + plan.after)
        new = random.random(plan.after) < plan.share
        drifted = len(plan.population) + random.integers(len(plan.drifted), size=plan.after)
        places[plan.quiet :] = np.where(new, drifted, places[plan.quiet :])
        classes |= coded(both, edges, ["score_shift"])
        # as `reference_of` counts them: events are drawn hundreds of times, and coded once
        reference = counts_of({trigger: codes[taken] for trigger, codes in classes.items()}, edges)
        for trigger, codes in classes.items():
            streams[trigger].append(codes[places])
            counts[trigger].append(reference[trigger])
    return streams, counts


def watch(plan: Plan, knobs: Any, repetitions: int, seed: int) -> Watched:
    """Look at every stream every `LOOK_EVERY` events, as a cron job would, through the product's own `look`."""
    streams, counts = drawn_streams(plan, repetitions, seed)
    fired, alone = {}, {}
    for trigger in TRIGGERS:
        fired[trigger], alone[trigger] = np.full(repetitions, math.inf), np.zeros(repetitions, dtype=bool)
        classes = np.array([len(found) for found in counts[trigger]])
        for size in np.unique(classes):  # equal deciles join: a reference may have fewer score classes
            mine = np.flatnonzero(classes == size)
            codes = np.stack([streams[trigger][i] for i in mine])
            reference = np.array([counts[trigger][i] for i in mine])
            fired[trigger][mine], alone[trigger][mine] = _watch_one(trigger, codes, reference, knobs)
    return Watched(fired, alone)


def _watch_one(trigger: Any, codes: np.ndarray, reference: np.ndarray, knobs: Any) -> tuple[np.ndarray, np.ndarray]:
    ids = np.arange(1, codes.shape[1] + 1)
    first, alone = np.full(len(codes), math.inf), np.zeros(len(codes), dtype=bool)
    needed = -math.log(drift_triggers.shared_alpha(knobs))
    for end in range(knobs.drift_min_samples, codes.shape[1] + 1, LOOK_EVERY):
        begin = max(0, end - knobs.max_detection_delay)
        since, starts = drift_triggers.since_starts(codes[:, begin:end], ids[begin:end], 0, reference.shape[1])
        seen = drift_triggers.look(trigger, since, starts, reference, knobs)
        first = np.where(np.isinf(first) & seen.fires, end, first)
        alone |= seen.judged & (seen.log_evidence >= needed)
    return first, alone


def population_effects(plan: Plan) -> dict[str, dict[str, float]]:
    """Effects, by trigger, that the drift has on the whole population: what is seen with unlimited events."""
    whole = reference_of(list(plan.population) * 50, DIGEST, 1)
    parts = [coded(list(rows), whole.score_edges) for rows in (plan.population, plan.drifted)]
    return {trigger: _effects(plan, trigger, [codes[trigger] for codes in parts], whole) for trigger in TRIGGERS}


def _effects(plan: Plan, trigger: Any, codes: Sequence[np.ndarray], whole: Reference) -> dict[str, float]:
    # per event of the stream, so that events without a measure weigh as they do there
    size = len(whole.counts[trigger])
    parts = [np.bincount(one[one >= 0], minlength=size) / len(one) for one in codes]
    mixed = (1 - plan.share) * parts[0] + plan.share * parts[1]
    many = 1e5
    if not mixed.sum() or not parts[0].sum():
        return {}
    found = effects_of(trigger, mixed[None] * many, parts[0][None] * many)
    return {name: float(value[0]) for name, value in found.items()}
