"""Figures of phase 7."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ecdd.monitoring.triggers import TRIGGERS

_STYLES = ("-", "--", ":", (0, (5, 3)), "-.")  # curves lie on each other


def detection(found: Mapping[str, Any], limit: int) -> Any:
    """Share of streams in which a trigger has fired, against the events since the drift began.

    ``found`` maps a scenario to ``(quiet, fired)``: events before the drift, and first firing by trigger.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 2.5 * math.ceil(len(found) / 2)))
    grid = np.atleast_1d(figure.subplots(math.ceil(len(found) / 2), 2, sharex=True, sharey=True)).ravel()
    for axes in grid[len(found) :]:
        axes.set_visible(False)
    for axes, (name, (quiet, fired)) in zip(grid, found.items(), strict=False):
        for colour, trigger in enumerate(TRIGGERS):
            delays = np.sort(fired[trigger] - quiet)
            reached = delays[np.isfinite(delays)]
            steps = np.concatenate([[-quiet], reached, [limit]])
            shares = np.concatenate([[0], np.arange(1, len(reached) + 1), [len(reached)]]) / len(delays)
            axes.step(
                steps,
                shares,
                where="post",
                color=f"C{colour}",
                linestyle=_STYLES[colour],
                label=trigger.replace("_", " "),
            )
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_title(name, fontsize=9)
        axes.set_ylim(-0.03, 1.05)
        axes.set_xlim(-quiet, limit)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].legend(fontsize=7, frameon=False, loc="center left")
    figure.supxlabel("events since the drift began", fontsize=9)
    figure.supylabel("share of streams in which the trigger has fired", fontsize=9)
    figure.tight_layout()
    return figure
