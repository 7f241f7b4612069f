"""``ecdd web``: the detector as a static page that judges in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, write_json

app = typer.Typer(help="The detector as a static page that judges in the browser.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def build(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the page.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle; the default one where not given.")] = None,
    cache: Annotated[Path, typer.Option(help="Where the runtime's files from npm are kept.")] = Path("build/edge/npm"),
    as_json: AsJson = False,
) -> None:
    """Write a folder that any web server can serve; a picture judged there never leaves the browser.

    The runtime comes from npm, pinned by version and SHA-256; it is asked only where the cache lacks a file. Exit
    code 2 where the bundle's contract asks for something that the page cannot do, which is named.
    """
    from ecdd.bundle.loading import load_bundle
    from ecdd.web.building import build_site

    loaded = load_bundle(bundle)
    files = build_site(loaded, out, cache)
    size = sum((out / name).stat().st_size for name in files) / 2**20
    echo(f"{out}: {len(files)} files, {size:.1f} MB, of bundle {loaded.payload_digest[:16]}")
    echo(f"look at it: ecdd serve --device-site {out}")
    if as_json:
        write_json({"folder": str(out), "files": sorted(files), "payload_digest": loaded.payload_digest})
