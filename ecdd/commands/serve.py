"""``ecdd serve``: the local site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecdd.commands.predict import DeviceClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecdd.contract.loading import LoadedContract
    from ecdd.dataset_governance.manual_review import ReviewStore
    from ecdd.monitoring.logger import EventLog
    from ecdd.monitoring.schema import Event
    from ecdd.verdict import Verdict


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Worker processes; the contract's max_concurrency where not given."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Host name the site is reached by, beside localhost; repeatable.")
    ] = None,
    *,
    log: Annotated[str | None, typer.Option(help="Event log: a file, sqlite:///… or postgresql://….")] = None,
    device_class: Annotated[DeviceClass, typer.Option(help="What this machine is, for the log.")] = "server",
    review: Annotated[
        Path | None, typer.Option(help="Folder for pictures that a person agrees to have reviewed, encrypted.")
    ] = None,
    device_site: Annotated[
        Path | None, typer.Option(help="Page of ecdd web build, offered as: judge on this device.")
    ] = None,
    review_key: Annotated[Path | None, typer.Option(help="Key of that folder; else ECDD_REVIEW_KEY.")] = None,
) -> None:
    """Start the local site: a page and an API that judge pictures in memory.

    No picture is written to disk, unless --review is given and the person agrees. Ctrl-C or SIGTERM stops the site;
    requests in flight are finished first. Exit code 2 when it could not start.
    """
    from ecdd.bundle import load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.serving.judging_process import Judge
    from ecdd.serving.server import make_server
    from ecdd.serving.server import serve as serve_until_stopped

    judge = Judge(load_bundle(bundle), None if contract is None else load_contract(contract))
    limit = judge.in_force.policy.serving.max_concurrency
    if workers is not None and workers > limit:
        message = f"--jobs {workers}: the contract allows serving.max_concurrency = {limit}"
        raise typer.BadParameter(message)
    if log is not None and contract is not None:
        raise typer.BadParameter("--log names the bundle that decided; with --contract the bundle would not have")
    if review_key is not None and review is None:
        raise typer.BadParameter("--review-key opens the folder of --review; give both")
    logged = None if log is None else _event_log(log, device_class, judge.in_force)
    store = None if review is None else _review_store(review, review_key, judge.in_force)
    device = None if device_site is None else _device_files(device_site, judge.bundle.payload_digest)
    server = make_server(judge, host, port, workers, logged, store, allow_host or (), device)
    if not serve_until_stopped(server):
        raise typer.Exit(2)


def _device_files(folder: Path, digest: str) -> dict[str, bytes]:
    """Files of a built page, which must be of the bundle that is served."""
    from ecdd.web.building import SiteError, read_site

    theirs, files = read_site(folder)
    if theirs != digest:
        raise SiteError(f"--device-site {folder}: of bundle {theirs[:16]}, served is {digest[:16]}; build it again")
    return files


def _event_log(url: str, device_class: str, contract: LoadedContract) -> Callable[[Verdict], None]:
    from ecdd.monitoring.logger import EventLog
    from ecdd.monitoring.schema import event_of

    opened = EventLog(url, contract.policy.monitoring.logged_fields, create=True)
    return lambda verdict: _append(opened, event_of(verdict, device_class))


def _append(opened: EventLog, event: Event) -> None:
    opened.append([event])


def _review_store(folder: Path, key: Path | None, contract: LoadedContract) -> ReviewStore:
    from ecdd.dataset_governance.manual_review import ReviewStore
    from ecdd.dataset_governance.review_sealing import ReviewKey

    return ReviewStore.open(folder, ReviewKey.read(key), contract)
