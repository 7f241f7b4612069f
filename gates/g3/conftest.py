"""Faces of the pooling study, measured once a process for the three experiments that share them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gates.support.fixtures import Detector, GoldenSet
from gates.support.pooling_study import StudiedFace, studied_faces
from gates.support.portraits import data_portraits, golden_portraits


@pytest.fixture(scope="session")
def studied(golden: GoldenSet, detector: Detector, data_root: Path | None) -> Callable[[str], list[StudiedFace]]:
    """Faces by origin: ``golden``, or ``data`` (CALIBRATION pictures of ``--data``; empty without the option)."""
    cache: dict[str, list[StudiedFace]] = {}

    def of(origin: str) -> list[StudiedFace]:
        if origin not in cache:
            data = origin == "data"
            portraits = data_portraits(data_root, "face", ("CALIBRATION",)) if data else golden_portraits(golden)
            cache[origin] = studied_faces(portraits, detector)
        return cache[origin]

    return of
