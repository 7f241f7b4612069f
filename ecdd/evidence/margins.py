"""How near a metric came to its limit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ecdd.evidence.records import Metric

_OF_A_CONTRACT: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


@dataclass(frozen=True)
class Margin:
    """Signed distance between a metric and its limit: positive inside, negative beyond.

    Attributes
    ----------
    kind : {"relative", "absolute", "exact", "none"}
        ``relative``: ``<``, ``<=``, ``>`` or ``>=`` a limit other than zero. ``absolute``: the same with a limit of
        zero, to which nothing is relative. ``exact``: ``==``, which has no room; 0 where it holds. ``none``: no finite
        value or no limit.
    value : float or None
        ``relative``: share of the limit's size. ``absolute``: room in the unit of the metric. ``exact``: minus the
        distance. None for ``none``.
    room : float or None
        The same in the unit of the metric.
    """

    kind: Literal["relative", "absolute", "exact", "none"]
    value: float | None
    room: float | None

    @property
    def text(self) -> str:
        """For a reader, with its sign."""
        if self.value is None or self.room is None:
            return "no number"
        if self.kind == "exact":
            return "exact" if self.value == 0 else f"off by {-self.value:.4g}"
        if self.kind == "absolute":
            return "at the limit" if self.value == 0 else f"{self.value:+.4g}".replace("-", "\u2212")
        percent = 100 * self.value
        text = f"{percent:+.3g}" if abs(percent) < 1000 else f"{percent:+,.0f}"
        return f"{text} %".replace("-", "\u2212").replace(",", "\u202f")


def margin_of(metric: Metric) -> Margin:
    """Distance of a metric from its limit.

    Parameters
    ----------
    metric : Metric
        As stored.

    Returns
    -------
    Margin
        ``(limit - value) / |limit|`` for ``<=`` and ``<``, the other way round for ``>=`` and ``>``; of counts too.
    """
    if metric.value is None or metric.limit is None:
        return Margin("none", None, None)
    value, limit = float(metric.value), float(metric.limit)
    if metric.op == "==":
        off = -abs(value - limit) + 0.0
        return Margin("exact", off, off)
    room = limit - value if metric.op.startswith("<") else value - limit
    return Margin("absolute", room, room) if limit == 0 else Margin("relative", room / abs(limit), room)


def closest_metric(metrics: Iterable[Metric]) -> Metric | None:
    """The metric that a one-line summary should show.

    Parameters
    ----------
    metrics : iterable of Metric
        Of one experiment.

    Returns
    -------
    Metric or None
        A failing one before a passing one. Among these: without a number; then the smallest margin relative to the
        limit; then limits of zero and equalities, where a pass has no room by its nature and says little. The first of
        several alike. How much was looked at (`counts_what_was_seen`) is shown only where it failed. None without any.
    """
    telling = (metric for metric in metrics if metric.verdict == "fail" or not counts_what_was_seen(metric))
    return min(telling, key=_order, default=None)


def counts_what_was_seen(metric: Metric) -> bool:
    """Whether a metric asks only that a test had something to look at, as ``modules_scanned >= 20`` does.

    Such a metric keeps a test from passing on nothing and says nothing of the bundle: a whole number that must reach a
    limit which is the clause's own and no key of the contract.

    Parameters
    ----------
    metric : Metric
        As stored.

    Returns
    -------
    bool
        False for a limit of the contract, for example ``calibration.min_samples_per_class``.
    """
    whole = isinstance(metric.value, int) and metric.op in {">=", ">"}
    return whole and _OF_A_CONTRACT.fullmatch(metric.clause) is None


def _order(metric: Metric) -> tuple[bool, int, float]:
    margin = margin_of(metric)
    kinds = ("none", "relative", "absolute", "exact")
    return metric.verdict == "pass", kinds.index(margin.kind), margin.value or 0.0
