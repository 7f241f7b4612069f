"""Fixtures of gate G3: frozen faces, and faces of the pooling study, each measured once a process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.pipeline.preprocess import normalise
from gates.support.fixtures import (
    Bundle,
    Detector,
    FrozenStages,
    GoldenSet,
    LoadedContract,
    NotApplicable,
    PolicyContract,
    Prepared,
)
from gates.support.frozen_maps import FrozenFace
from gates.support.frozen_maps import frozen_faces as read_frozen_faces
from gates.support.pooling_study import StudiedFace, Studies, studied_faces
from gates.support.portraits import data_portraits, golden_portraits


@pytest.fixture(scope="session")
def frozen_faces(bundle: Bundle, contract: LoadedContract, golden: GoldenSet, frozen: FrozenStages) -> list[FrozenFace]:
    """Faces with their frozen S3, S5 and S6."""
    return read_frozen_faces(bundle, contract, golden, frozen)


@pytest.fixture
def pooled_map(policy: PolicyContract) -> None:
    """A map that a rule pools; where the file's own output decides there is nothing to pool."""
    if policy.pooling.rule == "none":
        raise NotApplicable("pooling of a map", "pooling.rule")


@pytest.fixture
def evidence_map(policy: PolicyContract) -> None:
    """A map of more than one cell, or nothing can be said of its cells."""
    if not all(policy.model_interface.map_name.values()):
        raise NotApplicable("a map of cells", "model_interface.map_name")


@pytest.fixture(scope="session")
def studied(golden: GoldenSet, detector: Detector, data_root: Path | None) -> Studies:
    """Faces by origin: ``golden``, or ``data`` (CALIBRATION pictures of ``--data``; empty without the option)."""
    cache: dict[str, list[StudiedFace]] = {}

    def of(origin: str) -> list[StudiedFace]:
        if origin not in cache:
            data = origin == "data"
            portraits = data_portraits(data_root, "face", ("CALIBRATION",)) if data else golden_portraits(golden)
            cache[origin] = studied_faces(portraits, detector)
        return cache[origin]

    return of


@pytest.fixture(scope="session")
def golden_batch(golden: GoldenSet, prepared: Prepared, policy: PolicyContract) -> dict[str, NDArray[np.float32]]:
    """S4 of the first face of every in-scope golden picture, by its id."""
    faces = {item.id: prepared(item).faces for item in golden.by_set("in_scope")}
    return {key: normalise(found[0].s3, policy.pixel_pipeline) for key, found in faces.items() if found}
