"""``ecdd predict``: judge files and folders, one line a picture."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ecdd.commands.terminal import echo
from ecdd.errors import printable

# Prediction multiplies no matrices in numpy; its idle threads would cost a tenth of a second of each start, and a
# process that forks its workers must have none.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# the classes of `ecdd.monitoring.schema`, which is imported only for a log
DeviceClass = Literal["phone_low", "phone_mid", "phone_high", "tablet", "single_board", "desktop", "server", "unknown"]

_SHOW_PROGRESS_FROM = 40
_UNREADABLE = "IO-"


def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures and folders of pictures.", show_default=False)],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a picture on standard output.")] = False,
    heatmap: Annotated[Path | None, typer.Option(help="Folder for heatmaps of the judged faces.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    *,
    out: Annotated[Path | None, typer.Option(help="JSON lines into this file, written when all is done.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit code 1 when a file was rejected or an error occurred.")] = False,
    log: Annotated[str | None, typer.Option(help="Event log: a file, sqlite:///… or postgresql://….")] = None,
    device_class: Annotated[DeviceClass, typer.Option(help="What this machine is, for the log.")] = "unknown",
) -> None:
    """Judge pictures: label, calibrated probability and reason codes.

    Bad files are lines too. Exit code 0 when all were processed; 1 with --strict when one was rejected as unreadable
    or ended in an error; 2 for a wrong call, contract, bundle or log. With --log every picture, also a bad one, becomes
    an event that holds nothing of it.
    """
    from ecdd.batch import Settings, find_files, judge_all
    from ecdd.bundle import load_bundle
    from ecdd.contract.loading import load_contract

    # what cannot be trusted is refused before any work is begun
    settings = Settings(load_bundle(bundle), None if contract is None else load_contract(contract), heatmap)
    if heatmap is not None:
        heatmap.mkdir(parents=True, exist_ok=True)
    if log is not None and contract is not None:
        raise typer.BadParameter("--log names the bundle that decided; with --contract the bundle would not have")
    files, hidden = find_files(paths)
    counts: dict[str, int] = {}
    warned: set[str] = set()
    failed = 0
    inputs = [*paths, settings.bundle.path, *([] if contract is None else [contract])]
    with _writer(out, inputs) as write, _logged(log, device_class, settings.bundle) as note:
        for line in _watched(judge_all(files, settings, jobs), len(files)):
            counts[line["label"]] = counts.get(line["label"], 0) + 1
            failed += line["outcome"] == "error" or any(code.startswith(_UNREADABLE) for code in line["reason_codes"])
            for warning in line.get("warnings", ()):  # the same for every picture: a person reads it once
                if warning not in warned:
                    echo(f"warning: {warning}", err=True)
                warned.add(warning)
            write(line)
            note(line)
            echo(json.dumps(line, ensure_ascii=True) if as_json else _text(line))
    if len(files) != 1:
        shown = ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "none"
        left_out = f"; {hidden} hidden files or folders left out" if hidden else ""
        echo(f"{len(files)} files: {shown}; {failed} unreadable or in error{left_out}", err=True)
    raise typer.Exit(int(strict and failed > 0))


def _text(line: dict[str, Any]) -> str:
    """One line for a person: verdict, probability, path, and why it abstained."""
    probability = "      " if line["probability"] is None else f"{line['probability']:6.3f}"
    why = f"  {' '.join(line['reason_codes'])} {line['detail']}" if line["label"] == "abstain" else ""
    return f"{line['label']:8}{probability}  {printable(line['path'])}{why}"


@contextlib.contextmanager
def _writer(out: Path | None, inputs: Iterable[Path]) -> Iterator[Any]:
    """Write JSON lines: half a file never carries the name, and what a full disk allows is kept."""
    if out is None:
        yield lambda _line: None
        return
    from ecdd.files import open_output

    with open_output(out, inputs=inputs, keep_lines=True) as handle:
        yield lambda line: handle.write((json.dumps(line, ensure_ascii=True) + "\n").encode())


@contextlib.contextmanager
def _logged(url: str | None, device_class: str, bundle: Any) -> Iterator[Any]:  # noqa: ANN401 - a bundle
    """Append an event a picture. A log that fails on the way costs no verdict; it is tried again, then reported."""
    if url is None:
        yield lambda _line: None
        return
    from ecdd.monitoring.logger import EventLog
    from ecdd.monitoring.monitoring_error import MonitoringError
    from ecdd.monitoring.schema import event_of

    refused: list[MonitoringError] = []
    with EventLog(url, bundle.contract.policy.monitoring.logged_fields, create=True) as log:

        def note(line: dict[str, Any]) -> None:
            try:
                one = event_of(line, device_class, bundle_digest=bundle.payload_digest)
            except MonitoringError as error:
                refused.append(error)
                return
            with contextlib.suppress(MonitoringError):  # the events wait; the last flush says what is wrong
                log.add(one)

        try:
            yield note
        finally:
            log.flush()
    if refused:
        raise MonitoringError(f"{len(refused)} pictures have no event: {refused[0]}")


def _watched(lines: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """Show a progress bar on standard error when a person watches and it takes a while."""
    if total < _SHOW_PROGRESS_FROM or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from lines
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(lines, total=total, description="judging", console=Console(stderr=True))
