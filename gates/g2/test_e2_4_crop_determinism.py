"""E2.4 crop determinism: the same picture gives the same crop, over repeats, processes and threads.

A crop that depends on timing or on the process makes every later stage irreproducible. Fails when one crop's digest
differs from the others.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.contract.loading import load_contract
from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.stages import prepare
from gates.support.fixtures import Evidence, GoldenSet, LoadedContract


def face_digests(paths: list[str], policy: PolicyContract, threads: int = 1) -> list[str]:
    """One digest a picture over boxes, scores, landmarks, crop boxes and S3 of all its faces."""
    finder = load_detector(policy.face_detector, threads=threads)
    digests = []
    for path in paths:
        prepared = prepare(read_file(path, policy.pixel_pipeline), policy, finder, name=Path(path).name)
        digest = hashlib.sha256()
        for face in prepared.faces:
            digest.update(json.dumps([face.face.box, face.face.score, face.face.landmarks, face.crop_box]).encode())
            digest.update(face.s3.tobytes())
        digests.append(digest.hexdigest())
    return digests


def _in_process(paths: list[str], contract: str) -> list[str]:
    return face_digests(paths, load_contract(contract).policy)


def _paths(golden: GoldenSet, sets: tuple[str, ...] = ("in_scope",)) -> list[str]:
    return [str(item.path) for name in sets for item in golden.by_set(name) if item.expected.outcome == "reaches_model"]


def _differing(paths: list[str], reference: list[str], other: list[str]) -> list[str]:
    return [Path(path).name for path, one, two in zip(paths, reference, other, strict=True) if one != two]


@pytest.mark.experiment("E2.4")
def test_repeats_and_threads(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    paths = _paths(golden, ("in_scope", "edge_cases"))
    reference = face_digests(paths, policy)
    repeats = [_differing(paths, reference, face_digests(paths, policy)) for _ in range(2)]
    threads = [_differing(paths, reference, face_digests(paths, policy, threads)) for threads in (2, 4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(face_digests, paths, policy) for _ in range(4)]
        side_by_side = [_differing(paths, reference, job.result()) for job in jobs]
    n = len(paths)
    evidence.none("differing_over_repeats", [*chain(*repeats)], n=n)
    evidence.none("differing_over_interpreter_threads", [*chain(*threads)], n=n)
    evidence.none("differing_in_concurrent_threads", [*chain(*side_by_side)], n=n)
    evidence.check("distinct_crops", len(set(reference)), limit=n * 0.7, op=">=", unit="digest", n=n)


@pytest.mark.experiment("E2.4")
def test_processes(
    evidence: Evidence, golden: GoldenSet, policy: PolicyContract, contract: LoadedContract, tmp_path: Path
) -> None:
    paths = _paths(golden)
    contract.dump(tmp_path / "contract.yaml")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(_in_process, paths, str(tmp_path / "contract.yaml")).result()
    evidence.none("differing_over_processes", _differing(paths, face_digests(paths, policy), other), n=len(paths))


def _fine_energy(s3: np.ndarray[Any, Any]) -> float:
    """Mean squared difference of neighbouring pixels: the scale that a 9x9 receptive field lives on."""
    luma = s3.astype(np.float64).mean(axis=2)
    return float((np.diff(luma, axis=0) ** 2).mean() + (np.diff(luma, axis=1) ** 2).mean())


@pytest.mark.experiment("E2.4")
def test_axis_aligned_keeps_the_traces(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    """A rotation to the eye line is a second resampling; the contract's alignment must keep at least as much."""
    energy: dict[str, list[float]] = {"axis_aligned": [], "eye_line": []}
    paths = _paths(golden)
    for alignment, values in energy.items():
        section = policy.face_detector.model_copy(update={"crop_alignment": alignment})
        turned = policy.model_copy(update={"face_detector": section})
        finder = load_detector(section)
        for path in paths:
            prepared = prepare(read_file(path, turned.pixel_pipeline), turned, finder)
            values.append(_fine_energy(prepared.faces[0].s3))
    ratio = float(np.median(np.array(energy["eye_line"]) / energy["axis_aligned"]))
    evidence.measure("fine_energy_eye_line_over_axis_aligned", ratio, "ratio")
    chosen = policy.face_detector.crop_alignment
    evidence.check("chosen_alignment_loses", ratio if chosen == "axis_aligned" else 1 / ratio, limit=1.0, n=len(paths))
