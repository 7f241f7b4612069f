"""``ecdd predict``: judge files and folders, one line a picture."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from ecdd.commands.terminal import detail, echo, fitted, note, watched
from ecdd.errors import printable

if TYPE_CHECKING:
    from ecdd.bundle import Bundle
    from ecdd.contract.loading import LoadedContract

# Prediction multiplies no matrices in numpy; its idle threads would cost a tenth of a second of each start, and a
# process that forks its workers must have none.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# the classes of `ecdd.monitoring.schema`, which is imported only for a log
DeviceClass = Literal["phone_low", "phone_mid", "phone_high", "tablet", "single_board", "desktop", "server", "unknown"]

_WORD_WIDTH: Final = 10
_COLOURS: Final = {"fake": "red", "real": "green", "abstain": "yellow", "error": "magenta"}
_LOST: Final = (("unreadable", "unreadable"), ("error", "in error"))


def predict(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, folders of pictures, and - for standard input.", show_default=False)
    ],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a picture on standard output.")] = False,
    heatmap: Annotated[Path | None, typer.Option(help="Folder for heatmaps of the judged faces.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    *,
    pattern: Annotated[
        list[str] | None,
        typer.Option("--glob", help="Of folders only files that match, such as '*.jpg'; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON lines into this file, written when all is done.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit code 1 when a file was unreadable or an error occurred.")] = False,
    log: Annotated[str | None, typer.Option(help="Event log: a file, sqlite:///… or postgresql://….")] = None,
    device_class: Annotated[DeviceClass, typer.Option(help="What this machine is, for the log.")] = "unknown",
) -> None:
    """Judge pictures: label, calibrated probability and reason codes.

    Unreadable files are lines too. Exit code 0 when all were processed; 1 with --strict when one was unreadable or
    ended in an error; 2 for a wrong call, contract, bundle or log, and for a path where nothing lies. With --log every
    picture, also an unreadable one, becomes an event that holds nothing of it.
    """
    from ecdd.batch import Settings, judge_all
    from ecdd.bundle import load_bundle
    from ecdd.commands.given_paths import collect, refuse_missing
    from ecdd.contract.loading import load_contract

    # what cannot be trusted is refused before any work is begun
    refuse_missing(paths)
    settings = Settings(load_bundle(bundle), None if contract is None else load_contract(contract), heatmap)
    if log is not None and contract is not None:
        raise typer.BadParameter("--log names the bundle that decided; with --contract the bundle would not have")
    in_force = settings.contract or settings.bundle.contract
    files, hidden = collect(paths, pattern or (), in_force.policy.pixel_pipeline.max_bytes)
    if heatmap is not None:
        heatmap.mkdir(parents=True, exist_ok=True)
    note(_header(settings.bundle, in_force, as_json=as_json))
    counts: Counter[str] = Counter()
    warned: set[str] = set()
    drawn = 0
    inputs = [*(path for path in paths if str(path) != "-"), settings.bundle.path]
    inputs += [] if contract is None else [contract]
    with _writer(out, inputs) as write, _logged(log, device_class, settings.bundle) as log_event:
        for line in _watched(judge_all(files, settings, min(jobs, len(files))), len(files)):
            counts[_word(line)] += 1
            drawn += line["heatmap"] is not None
            for warning in line.get("warnings", ()):  # the same for every picture: a person reads it once
                if warning not in warned:
                    echo(f"warning: {warning}", err=True)
                warned.add(warning)
            write(line)
            log_event(line)
            if as_json:
                echo(json.dumps(line, ensure_ascii=True))
            else:
                _show(line)
    if len(files) != 1:
        note(_summary(counts, hidden))
    _say_what_was_written(out, heatmap, drawn, len(files) if log is not None else 0)
    raise typer.Exit(int(strict and counts["unreadable"] + counts["error"] > 0))


def _header(bundle: Bundle, contract: LoadedContract, *, as_json: bool) -> str:
    point = contract.policy.operating_point
    about = (
        f"bundle {bundle.manifest.name} {bundle.manifest.version}, payload {bundle.payload_digest[:12]}, contract "
        f"{contract.digest[:12]}: real up to {point.t_real:.3f}, fake from {point.t_fake:.3f}"
    )
    return about if as_json else f"{about}\n{'verdict':{_WORD_WIDTH}} P(fake)  picture"


def _word(line: dict[str, Any]) -> str:
    """What a person reads: a file that was not decoded is no abstention about a person."""
    if line["outcome"] in {"rejected", "error"}:
        return "unreadable" if line["outcome"] == "rejected" else "error"
    return str(line["label"])


def _show(line: dict[str, Any]) -> None:
    """One line for a person: verdict, probability, path, and why there is no label."""
    word = _word(line)
    probability = " " * 7 if line["probability"] is None else f"{line['probability']:7.3f}"
    why = f"  {' '.join(line['reason_codes'])} {line['detail']}" if line["label"] == "abstain" else ""
    text = fitted(f"{word:{_WORD_WIDTH}} {probability}  {printable(line['path'])}{why}")
    echo(text[:_WORD_WIDTH], nl=False, colour=_COLOURS.get(word))
    echo(text[_WORD_WIDTH:])
    for index, face in enumerate(line["faces"]):
        box = ", ".join(f"{value:.0f}" for value in face["box"])
        judged = "not judged" if face["probability"] is None else f"P(fake) {face['probability']:.3f}"
        codes = " ".join(face["reason_codes"])
        detail(f"    face {index + 1} at {box}: {judged}, {face['face_side']:.0f} px, blur {face['blur']:.0f} {codes}")


def _summary(counts: Counter[str], hidden: int) -> str:
    judged = (
        ", ".join(f"{counts[word]} {word}" for word in ("fake", "real", "abstain") if counts[word]) or "none judged"
    )
    lost = ", ".join(f"{counts[word]} {what}" for word, what in _LOST if counts[word])
    left_out = f"; {hidden} hidden files or folders left out" if hidden else ""
    return f"{counts.total()} files: {judged}{f'; {lost}' if lost else ''}{left_out}"


def _say_what_was_written(out: Path | None, heatmap: Path | None, drawn: int, events: int) -> None:
    if out is not None:
        note(f"written: {out}")
    if heatmap is not None:
        note(f"heatmaps: {drawn} in {heatmap}")
    if events:
        note(f"event log: {events} more events")


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

        def append(line: dict[str, Any]) -> None:
            try:
                one = event_of(line, device_class, bundle_digest=bundle.payload_digest)
            except MonitoringError as error:
                refused.append(error)
                return
            with contextlib.suppress(MonitoringError):  # the events wait; the last flush says what is wrong
                log.add(one)

        try:
            yield append
        finally:
            log.flush()
    if refused:
        raise MonitoringError(f"{len(refused)} pictures have no event: {refused[0]}")


def _watched(lines: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """Show a progress bar where the lines themselves are not seen."""
    return lines if sys.stdout.isatty() else watched(lines, total, "judging")
