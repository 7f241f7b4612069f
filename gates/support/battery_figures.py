"""Figures of gate G6."""

from __future__ import annotations

from typing import Any

REAL, FAKE, INK = "#2166ac", "#b2182b", "#333333"


def groups(found: Any, everything: Any, least: int) -> Any:
    """FPR and FNR of every group with its interval; hollow where too few pictures are judged."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 0.42 * len(found) + 1.4))
    for axes, kind, colour in zip(figure.subplots(1, 2, sharey=True), ("fpr", "fnr"), (REAL, FAKE), strict=True):
        for place, group in enumerate(reversed(found)):
            rate = getattr(group.measured, kind)
            if rate.value is None:
                continue
            fill = colour if getattr(group, f"judged_{kind}") else "white"
            axes.plot([rate.low, rate.high], [place, place], color=colour, linewidth=1.2)
            axes.plot(rate.value, place, "o", color=colour, markerfacecolor=fill)
        axes.axvline(getattr(everything, kind).value, color=INK, linestyle="--", linewidth=1)
        axes.set_xlim(-0.02, 1.0)
        axes.set_xlabel(f"{kind.upper()} (dashed: all; hollow: under {least})", fontsize=9)
    figure.axes[0].set_yticks(range(len(found)), [f"{g.split}: {g.name}" for g in reversed(found)], fontsize=8)
    figure.tight_layout()
    return figure


def transforms(found: Any, limit: float) -> Any:
    """Error increases and abstain rates under every transform."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 0.3 * len(found) + 1.4))
    left, right = figure.subplots(1, 2, sharey=True)
    for place, result in enumerate(reversed(found)):
        for value, colour, offset in ((result.fpr_increase, REAL, 0.12), (result.fnr_increase, FAKE, -0.12)):
            if value is not None:
                left.plot(value, place + offset, "o", color=colour, markersize=4)
        measured = result.measured
        for rate, colour, offset in ((measured.abstain_real, REAL, 0.18), (measured.abstain_fake, FAKE, -0.18)):
            right.barh(place + offset, rate.value or 0.0, height=0.34, color=colour)
    left.axvline(limit, color=INK, linestyle="--", linewidth=1)
    left.axvline(0, color="#bbbbbb", linewidth=0.8)
    left.set_xlabel("increase of FPR (blue) and FNR (red); dashed: limit")
    right.set_xlabel("abstain rate of reals (blue) and fakes (red)")
    right.set_xlim(0, 1)
    left.set_yticks(range(len(found)), [result.name for result in reversed(found)], fontsize=8)
    figure.tight_layout()
    return figure
