"""Quotas of manual review: which item a stratum still takes, which is looked at next, and which make the sample."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ecdd.contract.process_sections import DatasetGovernance
from ecdd.dataset_governance.review_record import ReviewItem, Stratum

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def cycle_of(stored: datetime.datetime, days: int) -> int:
    """Number of the review cycle: whole spans of ``days`` days since 1970-01-01 UTC, so no clock is ever reset."""
    return math.floor((stored - _EPOCH) / datetime.timedelta(days=days))


def quota_left(items: Iterable[ReviewItem], quota: Mapping[Stratum, int], cycle: int, days: int) -> dict[Stratum, int]:
    """How many more items each stratum takes in a cycle; negative where reviewers moved more into it than it takes."""
    taken = Counter(item.stratum for item in items if cycle_of(item.stored, days) == cycle)
    return {stratum: limit - taken[stratum] for stratum, limit in quota.items()}


def most_needed(items: Sequence[ReviewItem], rules: DatasetGovernance, skip: Collection[str] = ()) -> ReviewItem | None:
    """The oldest waiting item of the stratum that was looked at least in its cycle; None where nothing waits.

    Reviews count for the stratum that an item was stored as: uncontested verdicts that turn out wrong leave
    ``correct``, which would otherwise never fill and be looked at for ever.
    """
    days, quota = rules.review_cycle_days, rules.review_quota

    def place(item: ReviewItem) -> tuple[int, Stratum]:
        return cycle_of(item.stored, days), item.stored_as

    done = Counter(place(item) for item in items if item.forms)
    waiting = [item for item in items if not item.forms and item.id not in skip and quota[item.stored_as] > 0]
    return min(
        waiting, key=lambda item: (done[place(item)] / quota[item.stored_as], item.stored, item.id), default=None
    )


def within_quota(items: Iterable[ReviewItem], rules: DatasetGovernance) -> tuple[list[ReviewItem], int]:
    """Labelled items up to the quota of each stratum and cycle in order of review, and how many are beyond.

    A reviewer's label can move an item into a stratum that is full: it is kept, and left out of this sample.
    """
    taken: Counter[tuple[int, Stratum]] = Counter()
    kept, beyond = [], 0
    for item in sorted((item for item in items if item.forms), key=lambda item: (item.forms[0].at, item.id)):
        place = (cycle_of(item.stored, rules.review_cycle_days), item.stratum)
        taken[place] += 1
        if taken[place] <= rules.review_quota[item.stratum]:
            kept.append(item)
        else:
            beyond += 1
    return kept, beyond


@dataclass(frozen=True)
class ReviewStatus:
    """Where a store stands.

    Attributes
    ----------
    cycle : int
        Number of the present review cycle.
    strata : dict of str to (int, int, int)
        Stored in this cycle, reviewed of these, quota; by stratum.
    waiting, reviewed : int
        Items of all cycles.
    due : int
        Items past retention, which the next purge deletes.
    refused : dict of str to int
        Refusals by reason code.
    damaged : tuple of str
        Records that cannot be opened, and why.
    clock_behind : timedelta
        How far the clock is behind the newest line of the trail; then nothing is purged too early, but late.
    """

    cycle: int
    strata: dict[Stratum, tuple[int, int, int]]
    waiting: int
    reviewed: int
    due: int
    refused: dict[str, int]
    damaged: tuple[str, ...]
    clock_behind: datetime.timedelta
