"""Two runs side by side as a page, and as one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecdd.evidence.report_rows import shown

if TYPE_CHECKING:
    from ecdd.evidence.comparing import RunDiff


def headline(diff: RunDiff) -> str:
    """What matters first, in one sentence."""
    if not diff.verdicts:
        return "no verdict changed"
    worse = sum(change.worse for change in diff.verdicts)
    return f"{len(diff.verdicts)} verdicts changed, {worse} for the worse"


def page(diff: RunDiff, before: str, after: str) -> str:
    """Render a self-contained page; ``before`` and ``after`` are what a reader calls the runs."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ecdd.evidence", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown"] = shown
    template = environment.get_template("run_diff.html.j2")
    return template.render(diff=diff, before=before, after=after, headline=headline(diff))
