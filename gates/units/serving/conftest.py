"""Sites that the tests share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ecdd.contract.loading import LoadedContract
from ecdd.evidence.pytest_plugin import RUN
from gates.support.site_process import NO_FILES, ROOT, SiteProcess

# limits that a test reaches in seconds and with little data
STRICT: dict[str, Any] = {
    "pixel_pipeline.max_bytes": 200_000,
    "serving.max_concurrency": 1,
    "serving.max_queue": 1,
    "serving.burst": 3,
    "serving.requests_per_minute": 1,
    "serving.request_timeout": 60.0,
    "serving.max_connections": 12,
}
HASTY = 2.0  # seconds of a request; a test waits for them to pass


@pytest.fixture(scope="session")
def bundle_options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    options = request.config.stash[RUN].options
    given = [("--bundle", options.bundle), ("--contract", options.contract)]
    return tuple(str(part) for name, path in given if path is not None for part in (name, path))


@pytest.fixture(scope="session")
def site(bundle_options: tuple[str, ...]) -> Iterator[SiteProcess]:
    """A site as it ships, that can write to no file at all."""
    running = SiteProcess(*bundle_options, prefix=NO_FILES)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def strict_contract(contract: LoadedContract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strict") / "contract.yaml"
    contract.with_values(STRICT).dump(path)
    return path


@pytest.fixture(scope="session")
def own_bundle(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Option of the bundle alone, for sites with a contract of their own."""
    chosen = request.config.stash[RUN].options.bundle
    return () if chosen is None else ("--bundle", str(chosen))


class Kept:
    """A site that the tests of a file share; one that a test ended is started anew."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._running: SiteProcess | None = None

    def take(self) -> SiteProcess:
        """The site, warm and with nothing to do."""
        if self._running is None or self._running.process.poll() is not None:
            self._running = SiteProcess(*self._options)
        return self._running

    def leave(self) -> None:
        """After a test: a site that it ended is gone, one with a stopped worker or a waiting request ends."""
        site = self._running
        if site is None or site.process.poll() is not None:
            return
        quiet = False
        with contextlib.suppress(OSError, psutil.Error):  # no answer, or gone meanwhile
            stopped = any(worker.status() == psutil.STATUS_STOPPED for worker in site.workers())
            quiet = not stopped and site.get("/readyz").status == 200 and site.metric("ecdd_workers_busy") == 0
        if not quiet:
            self.end()

    def end(self) -> None:
        """Stop the site and its workers, also those that a test has stopped."""
        if self._running is not None:
            workers = self._running.workers() if self._running.process.poll() is None else []
            for worker in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.resume()
            self._running.stop()
            for worker in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
        self._running = None


@pytest.fixture(scope="module")
def kept_strict(strict_contract: Path, own_bundle: tuple[str, ...]) -> Iterator[Kept]:
    kept = Kept(*own_bundle, "--contract", str(strict_contract))
    yield kept
    kept.end()


@pytest.fixture
def strict_site(kept_strict: Kept) -> Iterator[SiteProcess]:
    """A site with limits that are reached soon: every test asks from clients of its own and leaves it as it was."""
    yield kept_strict.take()
    kept_strict.leave()


@pytest.fixture(scope="module")
def kept_hasty(
    contract: LoadedContract, own_bundle: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    path = tmp_path_factory.mktemp("hasty") / "contract.yaml"
    contract.with_values({**STRICT, "serving.request_timeout": HASTY}).dump(path)
    kept = Kept(*own_bundle, "--contract", str(path))
    yield kept
    kept.end()


@pytest.fixture
def hasty_site(kept_hasty: Kept) -> Iterator[SiteProcess]:
    """A strict site that gives a request little time."""
    yield kept_hasty.take()
    kept_hasty.leave()


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A golden JPEG with one face."""
    return sorted((ROOT / "golden" / "in_scope").glob("*.jpg"))[0].read_bytes()
