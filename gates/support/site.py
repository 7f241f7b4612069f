"""The local site in a real browser: starting ``ecdd serve``, and uploading pictures through its page."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ecdd.contract.loading import LoadedContract
from ecdd.errors import how_to_install
from gates.support.browser import find_chromium, open_browser

# mutants replace these: the program that serves, and scripts that run in a page before its own
COMMAND: list[str] = [sys.executable, "-m", "ecdd"]
SCRIPTS: list[str] = []
# a test sends more pictures in a minute than a person; the limits that ship are tested with the server
MANY: Final = {"serving.requests_per_minute": 100_000, "serving.burst": 10_000}
DESKTOP: Final = {"viewport": {"width": 1280, "height": 900}}
PHONE: Final = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
_START: Final = 60.0  # seconds until the site must be ready; it takes about two
_RUNS: Final = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
_NEEDED: Final = {"starlette": "serve", "uvicorn": "serve", "python_multipart": "serve", "playwright": "gates"}


def why_not() -> str:
    """What is missing to run the site in a browser; empty when nothing is."""
    for library, extra in _NEEDED.items():
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed; {how_to_install(extra)}"
    path = find_chromium()
    if path is None or not path.is_file():
        return "no Chromium on the path and ECDD_CHROMIUM names none"
    return ""


@contextlib.contextmanager
def serve(bundle: Path, contract: LoadedContract, folder: Path) -> Iterator[str]:
    """Run ``ecdd serve`` on a free port of this machine.

    Parameters
    ----------
    bundle : Path
        Which detector.
    contract : LoadedContract
        In place of the bundle's.
    folder : Path
        For the contract's file and what the site writes on its standard outputs.

    Yields
    ------
    str
        Address, without a slash at the end.
    """
    contract.dump(folder / "policy_contract.yaml")
    command = [*COMMAND, "serve", "--port", "0", "--jobs", "1", "--bundle", str(bundle)]
    command += ["--contract", str(folder / "policy_contract.yaml")]
    log = folder / "site.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the site says that it runs; it does so when its workers are warm."""
    until = time.monotonic() + _START
    while True:
        ended = process.poll() is not None or time.monotonic() > until
        said = log.read_text(encoding="utf-8", errors="replace")
        if found := _RUNS.search(said):
            return found.group(1)
        if ended:
            msg = f"ecdd serve did not start within {_START:.0f} s, exit code {process.poll()}:\n{said[-2000:]}"
            raise RuntimeError(msg)
        time.sleep(0.05)


@contextlib.contextmanager
def opened(bundle: Path, contract: LoadedContract, folder: Path) -> Iterator[tuple[Any, str]]:
    """A browser, and the address of a site whose contract differs in its rate limit alone."""
    chromium = find_chromium()
    assert chromium is not None
    with serve(bundle, contract.with_values(MANY), folder) as address, open_browser(chromium) as browser:
        yield browser, address


@dataclass
class Watched:
    """A page, and what it must not do.

    Attributes
    ----------
    page : Page
        Of Playwright's synchronous interface.
    errors : list of str
        Console errors and uncaught exceptions.
    foreign : list of str
        Requests to anything but the site.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_page(browser: Any, address: str, **options: Any) -> Iterator[Watched]:
    """Open the site's page with a fresh profile; ``options`` go to the browser's context."""
    context = browser.new_context(**{**DESKTOP, **options})
    for script in SCRIPTS:
        context.add_init_script(script)
    watched = Watched(context.new_page())
    page, own = watched.page, (f"{address}/", "blob:", "data:")
    page.on("console", lambda m: watched.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else watched.foreign.append(r.url))
    try:
        page.goto(f"{address}/")
        page.wait_for_selector("html[data-ready]")
        yield watched
    finally:
        context.close()


@dataclass(frozen=True)
class Upload:
    """One picture that went through the page.

    Attributes
    ----------
    announced : str
        Digest that the page computed and sent.
    shown : bool
        Whether the page said that digest, and that it is equal at both ends.
    status : int
        Of the answer.
    answer : dict
        The site's JSON.
    """

    announced: str
    shown: bool
    status: int
    answer: dict[str, Any]


def upload(page: Any, path: Path) -> Upload:
    """Choose a file in the page's own input and wait until the page has shown the answer."""
    with page.expect_response(lambda response: "/v1/predict" in response.url) as caught:
        page.set_input_files("#file", str(path))
    response = caught.value
    answer = response.json()
    page.wait_for_selector('#result[aria-busy="false"]')
    announced = response.request.headers.get("x-content-sha256", "")
    state, said = page.locator("#digest").evaluate("line => [line.dataset.state, line.innerText]")
    shown = bool(announced) and state == "equal" and announced in said
    return Upload(announced, shown, response.status, answer)


def in_ci() -> bool:
    """Whether a missing browser is a failure and not a gap that is stated."""
    return os.environ.get("CI") == "true"
