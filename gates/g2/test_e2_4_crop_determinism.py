"""E2.4 crop determinism: the same picture gives the same crop, over repeats, processes and threads.

A crop that depends on timing or on the process makes every later stage irreproducible. Fails when one crop's digest
differs from the others.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.face import Face, face_crop_box
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.stages import prepare
from gates.support.fixtures import Evidence, GoldenSet, LoadedContract
from gates.support.portraits import png


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


@pytest.mark.experiment("E2.4")
def test_margin_is_of_the_longer_side(evidence: Evidence, policy: PolicyContract) -> None:
    """Boxes taller than wide, wider than tall and square, in pictures of both shapes: the formula, written out here."""
    section = policy.face_detector.model_copy(update={"crop_alignment": "axis_aligned"})
    wrong, n = [], 0
    for (width, height), (across, down) in itertools.product(
        ((900, 1400), (1400, 900)), ((100, 100), (80, 160), (160, 80), (61, 122), (300, 20), (20, 300), (500, 333))
    ):
        for left, top in ((350, 360), (10.25, 33.5), (width - across - 3, height - down - 7)):
            face = Face((left, top, left + across, top + down), 0.9)
            side = min(math.floor(section.crop_margin * max(across, down) + 0.5), width, height)
            if section.crop_overflow == "replicate":
                side = math.floor(section.crop_margin * max(across, down) + 0.5)
            corner = [math.floor(a + b / 2 - side / 2 + 0.5) for a, b in ((left, across), (top, down))]
            if section.crop_overflow != "replicate":
                corner = [min(max(x, 0), full - side) for x, full in zip(corner, (width, height), strict=True)]
            expected = (*corner, corner[0] + side, corner[1] + side)
            found, n = tuple(face_crop_box(face, (width, height), section)), n + 1
            if found != expected:
                wrong.append(f"{across}x{down} at {left}, {top}: {found}, expected {expected}")
    evidence.none("crops_off_the_margin", wrong, n=n, unit="box")


@pytest.mark.experiment("E2.4")
@pytest.mark.parametrize(("name", "stretch"), [("tall", (1.0, 1.3)), ("wide", (1.3, 1.0))])
def test_stretched_faces_are_cut_about_their_boxes(
    evidence: Evidence, golden: GoldenSet, policy: PolicyContract, name: str, stretch: tuple[float, float]
) -> None:
    """Faces taller or wider than they are: the crop is a square about the box, and S3 is that square of S1, resized."""
    finder, pixels = load_detector(policy.face_detector), policy.pixel_pipeline
    wrong, n = [], 0
    for path in _paths(golden)[::4]:
        upright = decode(read_file(path, pixels), pixels).image
        picture = upright.resize((round(upright.width * stretch[0]), round(upright.height * stretch[1])))
        for face in prepare(png(picture), policy, finder).faces:
            (x0, y0, x1, y1), box = face.crop_box, face.face.box
            n += 1
            square = x1 - x0 == y1 - y0
            inside = x0 <= box[0] + 1 and y0 <= box[1] + 1 and x1 >= box[2] - 1 and y1 >= box[3] - 1
            whole = min(box) < 0 or box[2] > picture.width or box[3] > picture.height
            kernel = Image.Resampling[pixels.resize_kernel.upper()]
            s3 = picture.crop((x0, y0, x1, y1)).resize((pixels.input_size,) * 2, kernel)
            beyond = x0 < 0 or y0 < 0 or x1 > picture.width or y1 > picture.height
            same = beyond or policy.face_detector.crop_alignment != "axis_aligned"
            if not (square and (inside or whole) and (same or np.array_equal(face.s3, np.asarray(s3)))):
                wrong.append(f"{Path(path).name}: box {box}, crop {face.crop_box}")
    evidence.none(f"{name}_faces_cut_otherwise", wrong, n=n, unit="face")
