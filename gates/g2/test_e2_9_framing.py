"""E2.9 framing: faces of every framing are found, portraits, tight crops, crops that are all face, small faces and
groups, by source and by share of the frame; pictures out of scope leak within a bound; the crop does not depend on the
framing.

A face that no look finds is never judged, and people cut their pictures as they like. Fails when a framing or a source
loses more faces than the contract allows, when more pictures without a face get one, or when the same face is cut out
elsewhere in a tighter picture.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.face import FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.reason_codes import Rejected
from gates.support.binomial_limits import upper_bound
from gates.support.fixtures import Evidence, GoldenSet, NotTested
from gates.support.framings import SHARES, certain_faces, framed_portraits, look_rows, recall_by
from gates.support.portrait_groups import group_rows, groups_framed_alike, long_groups, placed_portraits
from gates.support.portraits import Portrait, data_portraits, golden_portraits, open_portrait, side_by_side

TAGS = ("CALIBRATION", "TEST-NEVER-TOUCH")  # nothing is chosen here
SHARE_CLASSES = (0.0, 0.25, 0.5, 0.75, 1.0)  # longer side of the face box / shorter side of the picture
GROUP_HEIGHT = 300
STRIP_STEPS = (1, 3, 7)  # which pictures stand beside each other in a strip


def finder_of(policy: PolicyContract) -> FaceBackend:
    """The contract's detector with its second look."""
    if policy.face_detector.second_look == "off":
        raise NotTested("faces of every framing", "the contract's face_detector.second_look is off")
    return load_detector(policy.face_detector)


@pytest.mark.experiment("E2.9")
def test_golden_faces_in_every_framing(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    finder = finder_of(policy)
    rows = look_rows(framed_portraits(golden_portraits(golden), finder, policy), finder, policy)
    evidence.table("framings", rows)
    for framing, (recall, n) in recall_by(rows, "framing").items():
        lost = [row["name"] for row in rows if row["framing"] == framing and not row["found"]]
        evidence.check(f"{framing}_recall", recall, limit=policy.quality_gates.min_recall, op=">=", unit="rate",
                       worst=lost[:1], n=n, clause="quality_gates.min_recall")  # fmt: skip
    found = [row for row in rows if row["found"]]
    worst = max(found, key=lambda row: row["moved"], default={"name": "", "framing": "", "moved": float("nan")})
    evidence.table("median_box_move", [{"framing": f, "move": _median(found, f)} for f in sorted({*SHARES, "small"})])
    evidence.check("largest_box_move", worst["moved"], limit=policy.face_detector.tolerance_framing, unit="ratio",
                   worst=[f"{worst['name']} {worst['framing']}"], n=len(found),
                   clause="face_detector.tolerance_framing")  # fmt: skip


def _median(rows: Sequence[dict[str, Any]], framing: str) -> float:
    moves = [row["moved"] for row in rows if row["framing"] == framing]
    return float(np.median(moves)) if moves else float("nan")


@pytest.mark.experiment("E2.9")
def test_every_face_of_a_group(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    finder, portraits = finder_of(policy), golden_portraits(golden)
    groups = [portraits[k : k + 4] for k in range(0, len(portraits) - 3, 4)]
    lost, n = [], 0
    for group in groups:
        pictures = [open_portrait(portrait, policy) for portrait in group]
        data = side_by_side(pictures, [GROUP_HEIGHT] * len(pictures))
        alone = sum(len(certain_faces(picture, finder, policy)) for picture in pictures)
        together = len(certain_faces(Image.open(io.BytesIO(data)).convert("RGB"), finder, policy))
        n += alone
        lost += [" + ".join(portrait.name for portrait in group)] * max(alone - together, 0)
    evidence.check("group_recall", 1 - len(lost) / n, limit=policy.quality_gates.min_recall, op=">=", unit="rate",
                   worst=lost[:1], n=n, clause="quality_gates.min_recall")  # fmt: skip


def _parts_finder(policy: PolicyContract) -> FaceBackend:
    finder = finder_of(policy)
    if policy.face_detector.second_look_parts_ratio == 0:
        raise NotTested("parts of long pictures", "the contract's face_detector.second_look_parts_ratio is 0")
    return finder


@pytest.mark.experiment("E2.9")
def test_every_face_of_a_long_picture(evidence: Evidence, golden: GoldenSet, policy: PolicyContract) -> None:
    """Stacked portraits and groups of mixed sizes: each face of sufficient size, once, where it lies.

    Faces enlarged to one framing are measured without a limit: finder and mesh are as sure of a marble bust as of one
    man in profile, so that he is lost there or the bust is found.
    """
    finder, limit = _parts_finder(policy), policy.quality_gates.min_recall
    placed = placed_portraits(golden_portraits(golden), finder, policy)
    rows = {kind: group_rows(groups, finder, policy) for kind, groups in long_groups(placed).items()}
    for kind, members in rows.items():
        faces = [row for row in members if row["kind"] == "face"]
        lost = [row["name"] for row in faces if not row["found"]]
        evidence.check(f"{kind}_recall", 1 - len(lost) / len(faces), limit=limit, op=">=", unit="rate",
                       worst=lost[:1], n=len(faces), clause="quality_gates.min_recall")  # fmt: skip
    every = [row | {"name": f"{kind} {row['name']}"} for kind, members in rows.items() for row in members]
    surplus = [row["name"] for row in every if row["kind"] == "too_many"]
    evidence.none("faces_of_nobody_in_groups", surplus, n=len(every), unit="face")
    found = [row for row in every if row["kind"] == "face" and row["found"]]
    worst = max(found, key=lambda row: row["moved"], default={"name": "", "moved": float("nan")})
    evidence.check("largest_box_move_in_groups", worst["moved"], limit=policy.face_detector.tolerance_framing,
                   unit="ratio", worst=[worst["name"]], n=len(found),
                   clause="face_detector.tolerance_framing")  # fmt: skip
    alike = group_rows(groups_framed_alike(placed, policy.quality_gates.min_face_side), finder, policy)
    faces = [row["found"] for row in alike if row["kind"] == "face"]
    evidence.measure("framed_alike_recall", sum(faces) / len(faces), "rate")


@pytest.mark.experiment("E2.9")
def test_parts_of_out_of_scope_pictures_get_no_face(
    evidence: Evidence, golden: GoldenSet, policy: PolicyContract
) -> None:
    """Strips of four pictures without a face: no part of one shows a face of a size that is judged."""
    finder, pictures = _parts_finder(policy), golden_portraits(golden, "out_of_scope")
    images = [open_portrait(picture, policy) for picture in pictures]
    leaks, n = [], 0
    for step in STRIP_STEPS:
        for first in range(len(images)):
            chosen = [(first + k * step) % len(images) for k in range(4)]
            strip = side_by_side([images[k] for k in chosen], [GROUP_HEIGHT] * 4)
            faces = certain_faces(Image.open(io.BytesIO(strip)).convert("RGB"), finder, policy)
            least = policy.quality_gates.min_face_side
            n += 1
            if any(face.look == "part" and face.side >= least for face in faces):
                leaks.append(" + ".join(pictures[k].name for k in chosen))
    evidence.none("strips_with_a_face_in_a_part", leaks, n=n)


@pytest.mark.experiment("E2.9")
def test_out_of_scope_pictures_get_no_face(
    evidence: Evidence, golden: GoldenSet, data_root: Path | None, policy: PolicyContract
) -> None:
    finder = finder_of(policy)
    golden_rows = finder_rows(golden_portraits(golden, "out_of_scope"), finder, policy)
    evidence.none("golden_faces_found", [row["name"] for row in golden_rows if row["found"]], n=len(golden_rows))
    rows = golden_rows + finder_rows(data_portraits(data_root, "ood", ("TRAIN", *TAGS)), finder, policy)
    if len(rows) == len(golden_rows):
        raise NotTested("leak on --data", "no --data was given; reports/default holds the last one")
    leaks, gates = [row["name"] for row in rows if row["found"]], policy.quality_gates
    evidence.check("face_leak", len(leaks) / len(rows), limit=gates.max_face_leak, unit="rate", worst=leaks[:1],
                   n=len(rows), clause="quality_gates.max_face_leak")  # fmt: skip
    bound = upper_bound(len(leaks), len(rows), policy.operating_point.confidence)
    evidence.check("face_leak_bound", bound, limit=gates.max_face_leak_bound, unit="rate", worst=leaks[:1],
                   n=len(rows), clause="quality_gates.max_face_leak_bound")  # fmt: skip


@pytest.mark.experiment("E2.9")
def test_recall_by_source_and_share(evidence: Evidence, data_root: Path | None, policy: PolicyContract) -> None:
    """Every picture in scope shows a face; a source with few pictures is counted among the others."""
    rows = finder_rows(data_portraits(data_root, "face", TAGS), finder_of(policy), policy)
    if not rows:
        raise NotTested("recall on --data", "no --data was given; reports/default holds the last one")
    _name_small_sources(rows, policy.evaluation.min_group_pictures)
    limit, sources = policy.quality_gates.min_recall, recall_by(rows, "source")
    evidence.table("by_source", [{"source": name, "recall": r, "pictures": n} for name, (r, n) in sources.items()])
    evidence.table("by_share", share_rows(rows))
    worst, (recall, n) = min(sources.items(), key=lambda item: item[1])
    evidence.check("worst_source_recall", recall, limit=limit, op=">=", unit="rate", worst=[worst], n=n,
                   clause="quality_gates.min_recall")  # fmt: skip
    lost = [row["name"] for row in rows if not row["found"]]
    evidence.check("recall", 1 - len(lost) / len(rows), limit=limit, op=">=", unit="rate", worst=lost[:1], n=len(rows),
                   clause="quality_gates.min_recall")  # fmt: skip
    _measure_time(evidence, rows)


def finder_rows(portraits: Sequence[Portrait], finder: FaceBackend, policy: PolicyContract) -> list[dict[str, Any]]:
    """One row a picture that decodes and is large enough: whether a face counts, its share of the frame, the time."""
    rows = []
    for portrait in portraits:
        try:
            image = open_portrait(portrait, policy)
        except Rejected:
            continue
        if min(image.size) < policy.quality_gates.min_image_side:
            continue
        start = time.perf_counter()
        faces = certain_faces(image, finder, policy)
        seconds = time.perf_counter() - start
        share = max((face.side for face in faces), default=float("nan")) / min(image.size)
        rows.append(
            {
                "name": portrait.name,
                "source": portrait.source,
                "found": bool(faces),
                "share": _share_class(share),
                "look": faces[0].look if faces else "none",
                "seconds": seconds,
            }
        )
    return rows


def _share_class(share: float) -> str:
    """The class that a share falls into; what was not found has no share."""
    if np.isnan(share):
        return "not found"
    low = max(limit for limit in SHARE_CLASSES if share >= limit)
    return f"from {low}"


def share_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures by the share that the face fills, and how many of them needed the second look."""
    classes: dict[str, list[bool]] = {}
    for row in rows:
        classes.setdefault(row["share"], []).append(row["look"] != "first")
    return [
        {"share": k, "pictures": len(v), "not_by_the_first_look": sum(v) / len(v)} for k, v in sorted(classes.items())
    ]


def _name_small_sources(rows: Sequence[dict[str, Any]], least: int) -> None:
    """Put sources with too few pictures for a rate into one group."""
    sizes = Counter(row["source"] for row in rows)
    for row in rows:
        if sizes[row["source"]] < least:
            row["source"] = "other sources"


def _measure_time(evidence: Evidence, rows: Sequence[dict[str, Any]]) -> None:
    """Time of all looks / time where the first look was enough; a machine's business, so no limit."""
    first = [row["seconds"] for row in rows if row["look"] == "first"]
    if first:
        ratio = float(np.median([row["seconds"] for row in rows]) / np.median(first))
        evidence.measure("median_time_over_first_look", ratio, "ratio")
        evidence.measure("second_look_rate", 1 - len(first) / len(rows), "rate")
