"""Sites that the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def strict_site(strict_contract: Path, own_bundle: tuple[str, ...]) -> Iterator[SiteProcess]:
    """A site with limits that are reached soon; a new one for each test, since tests kill its workers."""
    running = SiteProcess(*own_bundle, "--contract", str(strict_contract))
    yield running
    running.stop()


@pytest.fixture
def hasty_site(contract: LoadedContract, own_bundle: tuple[str, ...], tmp_path: Path) -> Iterator[SiteProcess]:
    """A strict site that gives a request little time."""
    contract.with_values({**STRICT, "serving.request_timeout": 3.0}).dump(tmp_path / "contract.yaml")
    running = SiteProcess(*own_bundle, "--contract", str(tmp_path / "contract.yaml"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A golden JPEG with one face."""
    return sorted((ROOT / "golden" / "in_scope").glob("*.jpg"))[0].read_bytes()
