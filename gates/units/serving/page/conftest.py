"""The site in a browser, a page of it, and golden pictures by id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gates.support import site as sites
from gates.support.browser import browser_path


@pytest.fixture(scope="package")
def site(bundle: Any, contract: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Browser and address; fails or skips where there is no browser.

    Not of the session: Playwright keeps an event loop running in this thread, and other tests begin loops of their own.
    """
    pytest.importorskip("playwright", reason="not tested here: playwright, of the extra gates, is not installed")
    browser_path()
    with sites.opened(bundle.path, contract, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def page(site: Any) -> Iterator[Any]:
    with sites.open_page(*site, reduced_motion="reduce") as watched:
        yield watched.page


@pytest.fixture(scope="module")
def page_of_the_file(site: Any) -> Iterator[Any]:
    with sites.open_page(*site, reduced_motion="reduce") as watched:
        yield watched.page


@pytest.fixture
def kept_page(page_of_the_file: Any) -> Iterator[Any]:
    """One page for all tests of a file that listen to nothing: every answer takes the place of the one before."""
    yield page_of_the_file
    page_of_the_file.unroute_all()


@pytest.fixture(scope="module")
def picture(golden: Any) -> Callable[[str], Path]:
    """Path of a golden picture by id."""
    return lambda key: Path(next(item.path for item in golden.items if item.id == key))
