"""A headless browser for the tests of pages: the report of a run and the local site."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# none of these changes what a page does; they keep the browser itself off the network and off the graphics card
_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> Path | None:
    """The browser to use: ``ECDD_CHROMIUM``, or Chromium or Chrome on the path; None where there is none."""
    given = os.environ.get("ECDD_CHROMIUM")
    if given:
        return Path(given)
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return None if found is None else Path(found)


def browser_path() -> Path:
    """The browser for a test, which fails without one where ``CI=true`` and is skipped with the reason elsewhere.

    Returns
    -------
    Path
        Executable.
    """
    path = find_chromium()
    if path is not None and path.is_file():
        return path
    reason = "not tested here: no Chromium on the path and ECDD_CHROMIUM names none"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def open_browser(path: Path) -> Iterator[Browser]:
    """Start a headless browser with a fresh profile, and end it.

    Parameters
    ----------
    path : Path
        Executable, of `browser_path`.

    Yields
    ------
    Browser
        Of Playwright's synchronous interface; its profile is a temporary folder that goes with it.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(path), headless=True, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()
