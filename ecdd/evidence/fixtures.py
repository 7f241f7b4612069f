"""Fixtures for the clauses of the specification and for a team's own: bundle, contract, detector and golden pictures.

All are of the session, and load what ``--bundle``, ``--contract``, ``--golden`` and ``--data`` name, or the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from ecdd.evidence.run import RUN

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.schema import PolicyContract
    from ecdd.detector import Detector
    from ecdd.golden.golden_hashes import FrozenStages
    from ecdd.golden.golden_sets import GoldenItem, GoldenSet
    from ecdd.pipeline.decode import Decoded
    from ecdd.pipeline.stages import PreparedFace


@dataclass(frozen=True)
class GoldenNow:
    """What today's pipeline makes of one golden picture."""

    sha256: str
    decoded: Decoded | None
    faces: tuple[PreparedFace, ...]
    reason_codes: tuple[str, ...]
    rejected: tuple[str, ...]

    @property
    def accepted(self) -> Decoded:
        """The decoded picture; fails the test by the code where it was rejected."""
        assert self.decoded is not None, f"rejected: {', '.join(self.rejected)}"
        return self.decoded


Prepared: TypeAlias = "Callable[[GoldenItem], GoldenNow]"


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """The bundle that is judged, every byte of it checked."""
    from ecdd.bundle.loading import load_bundle

    return load_bundle(request.config.stash[RUN].options.bundle)


@pytest.fixture(scope="session")
def contract(request: pytest.FixtureRequest, bundle: Bundle) -> LoadedContract:
    """The contract to judge by: ``--contract``, or the bundle's own."""
    from ecdd.contract.loading import load_contract

    override = request.config.stash[RUN].options.contract
    return bundle.contract if override is None else load_contract(override)


@pytest.fixture(scope="session")
def policy(contract: LoadedContract) -> PolicyContract:
    """The contract's values."""
    return contract.policy


@pytest.fixture(scope="session")
def detector(bundle: Bundle, contract: LoadedContract) -> Detector:
    """The detector: bytes of a picture in, verdict out."""
    from ecdd.detector import Detector

    return Detector.load(bundle, contract)


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    """The golden set, checked against its manifest."""
    from ecdd.golden.golden_sets import load_checked

    return load_checked(request.config.stash[RUN].options.golden)


@pytest.fixture(scope="session")
def frozen(request: pytest.FixtureRequest) -> FrozenStages:
    """Frozen stages S0 to S4 of the golden set."""
    from ecdd.golden.golden_hashes import load_frozen

    return load_frozen(request.config.stash[RUN].options.golden)


@pytest.fixture(scope="session")
def data_root(request: pytest.FixtureRequest) -> Path | None:
    """Labelled pictures of ``--data``; None without the option."""
    found: Path | None = request.config.stash[RUN].options.data
    return found


@pytest.fixture(scope="session")
def prepared(policy: PolicyContract, detector: Detector) -> Prepared:
    """Golden pictures through S0 to S4, each at most once a process."""
    cache: dict[str, GoldenNow] = {}

    def prepare_once(item: GoldenItem) -> GoldenNow:
        if item.id not in cache:
            cache[item.id] = _prepare(Path(item.path), policy, detector)
        return cache[item.id]

    return prepare_once


def _prepare(path: Path, policy: PolicyContract, detector: Detector) -> GoldenNow:
    import hashlib

    from ecdd.pipeline.decode import read_file
    from ecdd.pipeline.reason_codes import Rejected
    from ecdd.pipeline.stages import prepare

    data = read_file(path, policy.pixel_pipeline)
    digest = hashlib.sha256(data).hexdigest()
    try:
        now = prepare(data, policy, detector.face_backend, name=path.name)
    except Rejected as rejected:
        return GoldenNow(digest, None, (), (), tuple(str(code) for code in rejected.codes))
    return GoldenNow(digest, now.decoded, now.faces, tuple(str(code) for code in now.reason_codes), ())
