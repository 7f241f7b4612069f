"""``ecdd monitor``: report, purge and check an event log, and freeze the reference that it is checked against."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecdd.commands.monitor_canary import canary
from ecdd.commands.terminal import AsJson, echo, write_json

if TYPE_CHECKING:
    from ecdd.monitoring.drift_triggers import Finding
    from ecdd.monitoring.playbook import Check
    from ecdd.monitoring.reference import Reference

app = typer.Typer(help="Judge a monitoring log; compare two bundles.", no_args_is_help=True, add_completion=False)
app.command()(canary)

QUIET, FIRED, CANNOT_JUDGE = 0, 1, 2
_ALL_DAYS = 36_500

Url = Annotated[str, typer.Argument(help="sqlite:///file.db, a path, or postgresql://user@host/name.")]
BundleOption = Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")]
AsOf = Annotated[
    datetime.datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="UTC; now where not given."),
]


@app.callback()
def _group() -> None:
    """Judge a monitoring log; compare two bundles on one stream."""


@app.command()
def report(
    url: Url,
    out: Annotated[Path | None, typer.Option(help="Folder for monitoring.html and monitoring.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild scores by day, abstain rate by reason and all distributions from the log alone.

    Exit code 2 where the log cannot be read.
    """
    from ecdd.monitoring.logger import EventLog
    from ecdd.monitoring.summary import summarise

    with EventLog(url) as log:
        summary = summarise(log)
    if out is not None:
        from ecdd.monitoring.page import write_report

        page, _ = write_report(summary, out, [_file_of(url)])
        echo(f"{page}: {summary.events} events", err=as_json)
    if as_json:
        write_json(summary.plain())
    elif out is None:
        echo(f"{summary.events} events, {summary.first_minute or '-'} to {summary.last_minute or '-'} UTC")
        for digest, found in summary.bundles.items():
            echo(f"bundle {digest[:16]}: " + ", ".join(f"{n} {label}" for label, n in found.items()))
        for code, text, n, rate in summary.abstain_rates:
            echo(f"{code} {n:7} {rate:6.1%}  {text}")


@app.command()
def purge(url: Url, bundle: BundleOption = None, as_of: AsOf = None, *, as_json: AsJson = False) -> None:
    """Delete events older than the contract's ``monitoring.retention_days``; exit code 2 where that fails."""
    from ecdd.monitoring.logger import EventLog

    days, now = _knobs(bundle).retention_days, _utc(as_of)
    with EventLog(url) as log:
        deleted = log.purge(days, now)
        left = log.count()
        ahead = log.count_after(now)
    echo(f"{deleted} events older than {days} days deleted, {left} left")
    if ahead:
        echo(f"{ahead} events lie more than a day in the future: a clock is wrong; they are kept", err=True)
    if as_json:
        write_json({"deleted": deleted, "left": left, "in_the_future": ahead, "retention_days": days})


@app.command()
def reference(
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    url: Annotated[str | None, typer.Argument(help="Log whose first days are the reference.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Score table of ecdd score, in place of a log.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Days from the bundle's first event on.")] = 7,
    bundle: BundleOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Freeze what a bundle's events look like while all is well; exit code 2 where they are too few.

    From a log, the watch begins after the days that were taken. A score table has no devices unless its manifest names
    them as this log does, and its pictures must be like those of the field, or everything drifts at once.
    """
    if (url is None) == (scores is None):
        raise typer.BadParameter("give a log or --scores, one of them")
    from ecdd.bundle import load_bundle
    from ecdd.monitoring import reference as references

    loaded = load_bundle(bundle)
    least = loaded.contract.policy.monitoring.drift_min_samples
    if scores is not None:
        made = _from_scores(scores, loaded, least)
    else:
        from ecdd.monitoring.logger import EventLog
        from ecdd.monitoring.playbook import reference_from_log

        assert url is not None
        with EventLog(url) as log:
            made = reference_from_log(log, loaded.payload_digest, days, least)
    source = scores or _file_of(url or "")
    references.save(made, out, [loaded.path, source])
    echo(f"{out}: {made.events} events of bundle {made.bundle_digest[:16]}")
    if as_json:
        write_json({"reference": str(out), "events": made.events, "payload_digest": made.bundle_digest})


@app.command()
def check(
    url: Url,
    reference: Annotated[str, typer.Option(help="From ecdd monitor reference; or the URL of a log of quiet days.")],
    bundle: BundleOption = None,
    as_json: AsJson = False,
    as_of: AsOf = None,
) -> None:
    """Look for drift; for cron, as often as one likes: the false-alarm rate holds over the whole watch.

    Exit code 0: quiet, or only what was reported before; 1: a trigger began to fire; 2: cannot judge (too few events,
    or log, reference or bundle cannot be used). A trigger that fires again soon asks for the next level.
    """
    from ecdd.bundle import load_bundle
    from ecdd.monitoring.logger import EventLog
    from ecdd.monitoring.monitoring_error import MonitoringError
    from ecdd.monitoring.playbook import check as check_log

    loaded = load_bundle(bundle)
    frozen = _frozen(reference, loaded)
    if frozen.bundle_digest != loaded.payload_digest:
        msg = (
            f"{reference}: of bundle {frozen.bundle_digest[:16]}, checked is {loaded.payload_digest[:16]}; "
            "give its --bundle, or freeze a reference of this one"
        )
        raise MonitoringError(msg)
    knobs = loaded.contract.policy.monitoring
    with EventLog(url, knobs.logged_fields) as log:
        done = check_log(log, frozen, knobs, _utc(as_of))
    _say(done, as_json)
    if any(alarm.new for alarm in done.alarms):
        raise typer.Exit(FIRED)
    raise typer.Exit(QUIET if done.judged else CANNOT_JUDGE)


def _frozen(reference: str, loaded: Any) -> Reference:  # noqa: ANN401 - a bundle, lazily imported
    """Read a reference, or make it from all events of another log."""
    from ecdd.monitoring.reference import load

    if "://" not in reference:
        return load(Path(reference))
    from ecdd.monitoring.logger import EventLog
    from ecdd.monitoring.playbook import reference_from_log

    least = loaded.contract.policy.monitoring.drift_min_samples
    with EventLog(reference) as log:
        made = reference_from_log(log, loaded.payload_digest, _ALL_DAYS, least)
    return made.model_copy(update={"after_event": 0})


def _say(done: Check, as_json: bool) -> None:
    if as_json:
        write_json(_plain(done))
        return
    firing = {alarm.trigger: alarm for alarm in done.alarms}
    for finding in done.findings:
        alarm = firing.get(finding.trigger)
        state = "quiet" if finding.judged else "not judged"
        if alarm is not None:
            state = "FIRES" if alarm.new else f"fires since {alarm.since:%Y-%m-%d %H:%M}"
        echo(f"{finding.trigger:20} {state:12} {_measured(finding)}")
        if alarm is not None:
            echo(f"{'':20} {alarm.level}: {alarm.step}")
    for name in done.cleared:
        echo(f"{name:20} was firing and is quiet again")
    if done.other_bundles:
        echo(f"{done.other_bundles} events of other bundles are not compared", err=True)


def _measured(finding: Finding) -> str:
    if not finding.judged:
        return finding.why
    shown = []
    for name, value in finding.effects.items():
        if not name.endswith("_limit"):
            limit = finding.effects.get(f"{name}_limit")
            shown.append(f"{name} {value:.3f}" + ("" if limit is None else f" (limit {limit:g})"))
    evidence = f"log evidence {finding.log_evidence:.1f} of {finding.log_needed:.1f}"
    return f"{', '.join(shown)}; {evidence}; {finding.events} events"


def _plain(done: Check) -> dict[str, Any]:
    return {
        "events": done.events,
        "other_bundles": done.other_bundles,
        "findings": [vars(finding) for finding in done.findings],
        "alarms": [{**vars(alarm), "since": alarm.since.isoformat()} for alarm in done.alarms],
        "cleared": list(done.cleared),
    }


def _from_scores(scores: Path, loaded: Any, least: int) -> Reference:  # noqa: ANN401 - a bundle, lazily imported
    from ecdd.evaluation.score_table import read_table
    from ecdd.evaluation.transforms import UNTOUCHED
    from ecdd.monitoring.monitoring_error import MonitoringError
    from ecdd.monitoring.reference import reference_of, rows_of_scores

    table = read_table(scores)
    if why := table.why_not_of(loaded.payload_digest, loaded.contract.digest):
        raise MonitoringError(f"{scores}: {why}")
    return reference_of(rows_of_scores(table.of(UNTOUCHED)), loaded.payload_digest, least)


def _file_of(url: str) -> Path:
    """The file of a log, where it is one."""
    return Path(url.removeprefix("sqlite:///"))


def _knobs(bundle: Path | None) -> Any:  # noqa: ANN401 - the contract's section, lazily imported
    from ecdd.bundle import load_bundle

    return load_bundle(bundle).contract.policy.monitoring


def _utc(when: datetime.datetime | None) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) if when is None else when.replace(tzinfo=datetime.UTC)
