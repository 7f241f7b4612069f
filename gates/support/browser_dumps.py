"""The page of ``ecdd web build`` in a headless browser with the network cut, dumped in the device kit's form."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.golden.golden_sets import GoldenItem
from ecdd.parity.device_dump import Dump, DumpedDecision, DumpedFace, DumpedPicture, DumpHead, Platform
from ecdd.web.building import read_site
from gates.support.browser import open_browser

ORIGIN: Final = "http://localhost"  # answered from memory: no port is opened, and no request leaves the browser
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json",
                 ".wasm": "application/wasm", ".tflite": "application/octet-stream"}  # fmt: skip
_TIMEOUT: Final = 300_000.0


@dataclass
class OpenedPage:
    """A page that is ready to judge.

    Attributes
    ----------
    page : object
        Playwright's.
    version : str
        Of the browser.
    bundle_digest : str
        Whose page it is.
    asked_elsewhere : list of str
        Requests to anything but the page's own files.
    errors : list of str
        What the page wrote to its console as an error.
    """

    page: Any
    version: str
    bundle_digest: str
    asked_elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def opened_site(site: Path, browser: Path) -> Iterator[OpenedPage]:
    """Open a built page; its files are answered from memory, and once it is ready the browser is offline too."""
    digest, files = read_site(site)
    with open_browser(browser) as running:
        context = running.new_context()
        found = OpenedPage(context.new_page(), running.version, digest)

        def answer(route: Any) -> None:
            name = route.request.url.removeprefix(f"{ORIGIN}/") or "index.html"
            if name not in files:
                found.asked_elsewhere.append(route.request.url)
                route.abort()
                return
            route.fulfill(body=files[name], content_type=_TYPES[Path(name).suffix])

        context.route("**/*", answer)
        # the runtime writes its notes as errors too
        found.page.on("console", lambda m: found.errors.append(m.text) if _is_error(m) else None)
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.set_default_timeout(_TIMEOUT)
        found.page.goto(f"{ORIGIN}/")
        found.page.locator("#file:enabled").wait_for()
        found.page.evaluate("window.ecdd.ready")
        context.set_offline(True)
        yield found


def dump_in_browser(opened: OpenedPage, items: Sequence[GoldenItem], *, pixels: bool = True) -> Dump:
    """Judge pictures on the page.

    Parameters
    ----------
    opened : OpenedPage
        From `opened_site`.
    items : sequence of GoldenItem
        With absolute paths.
    pixels : bool
        Keep S1's pixels, so that a decoder's deviations can be measured.

    Returns
    -------
    Dump
        Of all of them.
    """
    pictures, arrays = {}, {}
    for item in items:
        path = Path(item.path)
        sent = base64.b64encode(path.read_bytes()).decode()
        told = opened.page.evaluate("([bytes, name]) => window.ecdd.dump(bytes, name)", [sent, path.name])
        record = told["record"]
        pictures[item.id] = DumpedPicture(
            s0=record["s0"],
            s1=record["s1"],
            faces=[DumpedFace.model_validate(face) for face in record["faces"]],
            s8=DumpedDecision.model_validate(record["s8"]),
            milliseconds=record["milliseconds"],
        )
        for name, one in told["arrays"].items():
            if pixels or name != "S1":
                arrays[f"{item.id}/{name}"] = _array(one)
    platform = Platform(name=f"chromium-{opened.version}", kind="browser", about={"runtime": "LiteRT.js, wasm SIMD"})
    head = DumpHead(dump_version=1, platform=platform, bundle_digest=opened.bundle_digest, pictures=pictures)
    return Dump(head, arrays)


def _is_error(message: Any) -> bool:
    return message.type == "error" and not message.text.startswith(("INFO:", "WARNING:"))


def _array(one: dict[str, Any]) -> NDArray[Any]:
    values = np.frombuffer(base64.b64decode(one["values"]), np.dtype(one["dtype"]).newbyteorder("<"))
    return values.reshape(one["shape"]).astype(one["dtype"])
