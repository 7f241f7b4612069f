"""E2.5: multi-face policies compared on groups: missed fakes, false positives, latency; the contract's choice holds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.detector import Detector
from gates.g2.portraits import Portrait, golden_portraits, open_portrait, png

POLICIES = ("max_p_fake", "largest_face", "reject_multi")
BIG, SMALL = 420, 300


@dataclass(frozen=True)
class Group:
    """A picture of several people side by side, and whether one of them is fake."""

    name: str
    data: bytes
    has_fake: bool


def side_by_side(pictures: Sequence[Image.Image], heights: Sequence[int]) -> bytes:
    """Whole portraits beside each other on grey; nobody's face is put on anybody else."""
    scaled = [
        picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)
        for picture, height in zip(pictures, heights, strict=True)
    ]
    canvas = Image.new("RGB", (sum(p.width for p in scaled) + 20 * (len(scaled) + 1), max(heights) + 40), (128,) * 3)
    left = 20
    for picture in scaled:
        canvas.paste(picture, (left, 20))
        left += picture.width + 20
    return png(canvas)


def judged_portraits(golden: Any, detector: Detector) -> list[tuple[Portrait, float]]:
    """Golden portraits that are decided as what they are, with their probability."""
    found = []
    for portrait in golden_portraits(golden):
        verdict = detector.predict(portrait.path)
        if len(verdict.faces) == 1 and verdict.label == ("fake" if portrait.label else "real"):
            assert verdict.probability is not None
            found.append((portrait, verdict.probability))
    return found


def make_groups(golden: Any, detector: Detector) -> list[Group]:
    """Pairs and a triple: two real people, and a real person with a smaller fake beside, both in both orders."""
    portraits = judged_portraits(golden, detector)
    real = sorted((p for p in portraits if p[0].label == 0), key=lambda pair: pair[1])[:4]
    fake = sorted((p for p in portraits if p[0].label == 1), key=lambda pair: -pair[1])[:4]
    image = {p.name: open_portrait(p, detector.policy) for p, _ in (*real, *fake)}
    groups = []
    for (one, _), (two, _) in itertools.combinations(real, 2):
        groups.append(Group(f"{one.name} + {two.name}", _pair(image, one, two), has_fake=False))
    for (one, _), (two, _) in itertools.product(real, fake):
        groups.append(Group(f"{one.name} + small {two.name}", _pair(image, one, two), has_fake=True))
    for (one, _), (two, _) in zip(real, fake, strict=False):
        third = image[real[0][0].name]
        data = side_by_side([third, image[two.name], image[one.name]], (BIG, SMALL, BIG))
        groups.append(Group(f"{one.name} + small {two.name} + {real[0][0].name}", data, has_fake=True))
    return groups


def _pair(image: dict[str, Image.Image], big: Portrait, small: Portrait) -> bytes:
    return side_by_side([image[big.name], image[small.name]], (BIG, SMALL))


def compare(groups: Sequence[Group], detector: Detector) -> list[dict[str, Any]]:
    """Each policy on the same groups."""
    rows = []
    for policy in POLICIES:
        candidate = Detector(
            detector.bundle, detector.contract.with_values({"quality_gates.multi_face_policy": policy})
        )
        start = time.perf_counter()
        verdicts = [candidate.predict(group.data) for group in groups]
        elapsed = time.perf_counter() - start
        faces = sum(len(verdict.faces) for verdict in verdicts)
        with_fake = [v for v, g in zip(verdicts, groups, strict=True) if g.has_fake]
        without = [v for v, g in zip(verdicts, groups, strict=True) if not g.has_fake]
        rows.append(
            {
                "policy": policy,
                "groups_with_fake": len(with_fake),
                "called_real": sum(v.label == "real" for v in with_fake),
                "called_fake": sum(v.label == "fake" for v in with_fake),
                "false_positives": sum(v.label == "fake" for v in without),
                "groups_without_fake": len(without),
                "abstained": sum(v.label == "abstain" for v in verdicts),
                "ms_per_face": round(1e3 * elapsed / max(faces, 1), 2),
            }
        )
    return rows


@pytest.mark.experiment("E2.5")
def test_policies_on_groups(evidence: Any, golden: Any, detector: Any) -> None:
    groups = make_groups(golden, detector)
    rows = {row["policy"]: row for row in compare(groups, detector)}
    evidence.table("policies", list(rows.values()))
    chosen = rows[detector.policy.quality_gates.multi_face_policy]
    n_fake = sum(group.has_fake for group in groups)
    evidence.check("groups", len(groups), limit=8, op=">=", unit="group", n=len(groups))
    least = min(row["called_real"] for row in rows.values())
    evidence.check("fakes_called_real", chosen["called_real"], limit=least, unit="group", n=n_fake)
    caught = max(row["called_fake"] for row in rows.values())
    evidence.check("fakes_caught", chosen["called_fake"], limit=caught, op=">=", unit="group", n=n_fake)


@pytest.mark.experiment("E2.5")
def test_a_small_fake_beside_a_large_face_decides(evidence: Any, golden: Any, detector: Any) -> None:
    """The case that ``largest_face`` misses, picked for this bundle: its clearest fake beside its clearest real."""
    portraits = judged_portraits(golden, detector)
    real = min((p for p in portraits if p[0].label == 0), key=lambda pair: pair[1], default=None)
    fake = max((p for p in portraits if p[0].label == 1), key=lambda pair: pair[1], default=None)
    if real is None or fake is None:
        evidence.check("clear_pair_found", 0, limit=1, op=">=", unit="pair", n=1)
        return
    pictures = [open_portrait(portrait, detector.policy) for portrait, _ in (real, fake)]
    # The large face is at native size or above, the small one as it is: its traces stay as the model knows them.
    heights = (max(pictures[0].height, round(pictures[1].height * 1.6)), pictures[1].height)
    verdict = detector.predict(side_by_side(pictures, heights))
    sides = [face.face_side for face in verdict.faces]
    evidence.check("faces_found", len(sides), limit=2, op="==", unit="face", n=1)
    smaller = int(np.argmin(sides)) if sides else -1
    fakes = [face.probability for face in verdict.faces if face.probability is not None]
    evidence.measure("label", verdict.label)
    evidence.measure("highest_probability", max(fakes, default=float("nan")))
    deciding_is_small = verdict.deciding_face == smaller and verdict.label == "fake"
    wanted = detector.policy.quality_gates.multi_face_policy == "max_p_fake"
    evidence.check("small_fake_decides", int(deciding_is_small), limit=int(wanted), op=">=", worst=[fake[0].name], n=1)


@pytest.mark.experiment("E2.5")
def test_golden_groups(evidence: Any, golden: Any, detector: Any) -> None:
    items = [item for item in golden.by_set("edge_cases") if "group" in item.id or "faces" in item.id]
    counts = [len(detector.predict(item.path).faces) for item in items]
    few = [item.id for item, count in zip(items, counts, strict=True) if count < 2]
    evidence.none("groups_with_one_face", few, n=len(items))


@pytest.mark.experiment("E2.5")
def test_too_many_faces(evidence: Any, golden: Any, detector: Any) -> None:
    """One face more than the limit: GR-007, and nothing is judged."""
    limited = Detector(detector.bundle, detector.contract.with_values({"quality_gates.max_faces": 1}))
    items = [item for item in golden.by_set("edge_cases") if "group" in item.id or "faces" in item.id]
    several = [item for item in items if len(detector.predict(item.path).faces) > 1]
    wrong = [i.id for i in several if limited.predict(i.path).reason_codes != ("GR-007",)]
    evidence.none("without_GR-007", wrong, n=len(several))
    evidence.check("model_calls", limited.model_calls, limit=0, op="==", unit="face", n=len(several))
