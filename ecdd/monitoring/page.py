"""The monitoring report: one self-contained page and the same numbers as JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecdd.files import check_output, write_output
from ecdd.monitoring import figures
from ecdd.monitoring.summary import SCORE_BINS, LogSummary

_TEMPLATE = "report.html.j2"


def write_report(summary: LogSummary, folder: Path, inputs: Sequence[Path] = ()) -> tuple[Path, Path]:
    """Write ``monitoring.html`` and ``monitoring.json``, over none of the inputs; returns both paths."""
    page, numbers = folder / "monitoring.html", folder / "monitoring.json"
    for out in (page, numbers):
        check_output(out, inputs)
    write_output(page, render(summary).encode(), inputs=inputs)
    write_output(numbers, (json.dumps(summary.plain(), indent=1) + "\n").encode(), inputs=inputs)
    return page, numbers


def render(summary: LogSummary) -> str:
    """Render the page; an empty log gives a page that says so."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ecdd.monitoring", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    drawn = {}
    if summary.events:
        drawn = {
            "scores": _inline(figures.scores_by_day(summary)),
            "labels": _inline(figures.labels_by_day(summary)),
            "reasons": _inline(figures.reasons(summary)) if summary.reasons else "",
            "distributions": _inline(figures.distributions(summary)),
        }
    return environment.get_template(_TEMPLATE).render(log=summary, drawn=drawn, steps=SCORE_BINS)


def _inline(figure: Any) -> str:  # noqa: ANN401 - a Matplotlib figure
    """PNG as a data URL."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
