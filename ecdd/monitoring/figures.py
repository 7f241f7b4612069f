"""Figures of the monitoring report."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ecdd.monitoring.summary import SCORE_BINS, LogSummary

REAL, FAKE, ABSTAIN, INK = "#2166ac", "#b2182b", "#b8a06a", "#333333"
_COLOURS = {"real": REAL, "fake": FAKE, "abstain": ABSTAIN}
_TICKS = 14


def scores_by_day(summary: LogSummary) -> Any:  # noqa: ANN401 - a Matplotlib figure
    """Share of every step of P(fake), a column a day; empty days are not drawn."""
    import numpy as np

    days = list(summary.scores_by_day)
    counts = np.array([summary.scores_by_day[day] for day in days], dtype=float).T
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    figure, axes = _figure(8.5, 3.6)
    drawn = axes.imshow(shares, origin="lower", aspect="auto", extent=(-0.5, len(days) - 0.5, 0, 1), cmap="Blues",
                        vmin=0, interpolation="nearest")  # fmt: skip
    _day_ticks(axes, days)
    axes.set_ylabel(f"calibrated P(fake), {SCORE_BINS} steps")
    figure.colorbar(drawn, ax=axes, label="share of the day's scores")
    return _finished(figure)


def labels_by_day(summary: LogSummary) -> Any:  # noqa: ANN401
    """Decisions by day, and how many events the day has."""
    import numpy as np

    days = list(summary.labels_by_day)
    totals = np.array([sum(found.values()) for found in summary.labels_by_day.values()])
    figure, axes = _figure(8.5, 3.0)
    below = np.zeros(len(days))
    for label, colour in _COLOURS.items():
        share = np.array([found.get(label, 0) for found in summary.labels_by_day.values()]) / totals
        axes.bar(range(len(days)), share, bottom=below, color=colour, label=label, width=0.85)
        below += share
    for place in range(len(days) if len(days) <= _TICKS else 0):
        axes.text(place, 1.02, f"n={totals[place]}", ha="center", fontsize=8, color=INK)
    _day_ticks(axes, days)
    axes.set_ylabel("share of events")
    axes.set_ylim(0, 1.1)
    axes.legend(ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    return _finished(figure)


def reasons(summary: LogSummary) -> Any:  # noqa: ANN401
    """Abstain rate by reason, over all events."""
    rows = list(reversed(summary.abstain_rates))
    figure, axes = _figure(8.5, 0.4 * max(len(rows), 1) + 0.9)
    names = [textwrap.fill(f"{code} {text}", 44) for code, text, _, _ in rows]
    axes.barh(names, [rate for *_, rate in rows], color=ABSTAIN)
    axes.tick_params(axis="y", labelsize=8)
    for place, (_, _, count, rate) in enumerate(rows):
        axes.text(rate, place, f" {rate:.1%} ({count})", va="center", fontsize=8)
    axes.set_xlim(0, 1.25 * max((rate for *_, rate in rows), default=1))
    axes.set_xlabel("share of all events")
    return _finished(figure)


def distributions(summary: LogSummary) -> Any:  # noqa: ANN401
    """Face confidence, compression, resolution and device classes side by side."""
    from matplotlib.figure import Figure

    parts: list[tuple[str, Mapping[str, int]]] = [
        ("face confidence", summary.face_confidence),
        ("estimated JPEG quality", summary.compression),
        ("shorter side, pixels", summary.resolution),
        ("device class", summary.device),
    ]
    figure = Figure(figsize=(9.5, 6.4))
    for axes, (title, found) in zip(figure.subplots(2, 2).ravel(), parts, strict=True):
        whole = max(sum(found.values()), 1)
        names = [name.replace("_", " ") for name in found]
        axes.barh(names[::-1], [n / whole for n in found.values()][::-1], color=REAL)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("share of events", fontsize=8)
        axes.tick_params(labelsize=8)
    return _finished(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _day_ticks(axes: Any, days: list[str]) -> None:  # noqa: ANN401
    every = max(1, -(-len(days) // _TICKS))
    axes.set_xticks(range(0, len(days), every), days[::every], fontsize=8, rotation=30, ha="right")


def _finished(figure: Any) -> Any:  # noqa: ANN401
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
