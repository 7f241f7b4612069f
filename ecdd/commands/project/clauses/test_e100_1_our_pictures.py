"""Every in-scope picture of manifest.csv is decoded and reaches the model.

A clause of your own: one file, one experiment. Fails by the name of the first picture that is rejected or abstained
from before the model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ecdd.dataset_governance.manifest import load_manifest
from ecdd.detector import Detector
from ecdd.evidence.collecting import Evidence

MANIFEST = Path(__file__).resolve().parents[1] / "manifest.csv"


@pytest.mark.experiment("E100.1")
def test_our_pictures_reach_the_model(evidence: Evidence, detector: Detector) -> None:
    """Every picture gets a probability."""
    rows = [row for row in load_manifest(MANIFEST) if row.scope == "face"]
    kept_away = [row.path.name for row in rows if detector.predict(row.path).probability is None]
    evidence.none("kept_from_the_model", kept_away, n=len(rows))
