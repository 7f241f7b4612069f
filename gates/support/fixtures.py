"""Types of the fixtures of `ecdd.evidence.fixtures`, and what clause files raise, from one place."""

from __future__ import annotations

from ecdd.bundle.loading import Bundle
from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract
from ecdd.detector import Detector
from ecdd.evidence import NotApplicable, NotTested
from ecdd.evidence.collecting import Evidence
from ecdd.evidence.fixtures import GoldenNow, Prepared
from ecdd.golden.golden_hashes import FrozenStages
from ecdd.golden.golden_sets import GoldenItem, GoldenSet

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
