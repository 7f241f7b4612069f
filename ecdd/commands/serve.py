"""``ecdd serve``: the local site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Contract in place of the bundle's.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; the contract's max_concurrency where not given.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Host name the site is reached by, beside localhost; repeatable.")
    ] = None,
) -> None:
    """Start the local site: a page and an API that judge pictures. No picture is written to disk.

    Ctrl-C or SIGTERM stops it; requests in flight are finished first. Exit code 1 when the site could not start,
    2 for a wrong call, contract or bundle.
    """
    from ecdd.bundle import load_bundle
    from ecdd.contract.loading import load_contract
    from ecdd.serving.judging_process import Judge
    from ecdd.serving.server import make_server
    from ecdd.serving.server import serve as serve_until_stopped

    judge = Judge(load_bundle(bundle), None if contract is None else load_contract(contract))
    limit = judge.in_force.policy.serving.max_concurrency
    if workers is not None and workers > limit:
        message = f"--workers {workers}: the contract allows serving.max_concurrency = {limit}"
        raise typer.BadParameter(message)
    if not serve_until_stopped(make_server(judge, host, port, workers, allowed_hosts=allow_host or ())):
        raise typer.Exit(1)
