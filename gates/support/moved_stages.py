"""Golden pictures held to their frozen stages: which stage moved first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ecdd.golden.golden_hashes import first_moved, platform_fingerprint
from ecdd.pipeline.decode import s1_digest
from ecdd.tracing import StageRecord


def moved_stages(prepared: Any, frozen: Any, golden: Any, policy: Any) -> str:
    """The first stage that moved in any golden picture, in how many, and in which first; ``"none"`` for none."""
    exact = dict(frozen.platform) == platform_fingerprint()
    first = {}
    for item in golden.items:
        stored = frozen.picture(item.id)
        first[item.id] = first_moved(moved(stored, prepared(item), policy, exact=exact) if stored is not None else ())
    stage = first_moved(found for found in first.values() if found)
    names = [name for name, found in first.items() if found == stage]
    return f"{stage} in {len(names)} of {len(first)} pictures, {names[0]} first" if stage else "none"


def moved(stored: Any, now: Any, policy: Any, *, exact: bool) -> Iterator[str]:
    """Stages of a golden picture that are not the frozen ones, beyond what another processor explains in a face."""
    s1 = s1_digest(now.decoded.image) if now.decoded is not None else None
    if now.sha256 != stored.s0:
        yield "S0"
    if (s1, now.rejected) != (stored.s1_digest, stored.rejected):
        yield "S1"
    if len(stored.faces) != len(now.faces):
        yield "S2"
    limit = 0.0 if exact else policy.face_detector.tolerance_box
    for index, (old, new) in enumerate(zip(stored.faces, now.faces, strict=False)):
        if max(abs(one - other) for one, other in zip(old.box, new.face.box, strict=True)) > limit:
            yield "S2"
        elif old.crop_box == tuple(new.crop_box) and not np.array_equal(old.s3, new.s3):
            yield "S3"
        elif old.crop_box == tuple(new.crop_box) and old.s4_digest != StageRecord(policy, now).s4(index)["tensor"]:
            yield "S4"
