"""Types of the fixtures in ``gates/conftest.py``, and what clause files raise, from one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract
from ecdd.detector import Detector
from ecdd.evidence import NotApplicable, NotTested
from ecdd.evidence.collecting import Evidence
from ecdd.golden.golden_hashes import FrozenStages
from ecdd.golden.golden_sets import GoldenItem, GoldenSet
from ecdd.pipeline.decode import Decoded
from ecdd.pipeline.stages import PreparedFace

__all__ = [
    "Bundle",
    "Detector",
    "Evidence",
    "FrozenStages",
    "GoldenItem",
    "GoldenNow",
    "GoldenSet",
    "LoadedContract",
    "NotApplicable",
    "NotTested",
    "PolicyContract",
    "Prepared",
]


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


Prepared = Callable[[GoldenItem], GoldenNow]
