"""Review stores for tests: golden portraits with their real verdicts, and as many further items as a quota needs."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract
from ecdd.dataset_governance.manual_review import Consent, ReviewKey, ReviewStore
from ecdd.detector import Detector
from ecdd.golden.golden_sets import GoldenSet
from ecdd.pipeline.decode import read_file
from ecdd.verdict import DetectorSummary, Verdict
from gates.support.portraits import golden_portraits

START = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
AGREED = Consent(given=True, statement="review consent 1", at=START)

_DETECTOR = DetectorSummary(name="d", version="1", weights_sha256="0", score_threshold=0.5, detection_size=192)
# for items whose content does not matter
VERDICT = Verdict(
    path="IMG_1234.jpg", label="fake", outcome="judged", probability=0.9, logit=1.0, thresholds={}, reason_codes=(),
    detail="", faces=(), deciding_face=None, abstain_action=None, patch_map=None, file_sha256=None, notes=(),
    warnings=(), contract_digest="c", bundle_digest="b", detector=_DETECTOR, versions={}, milliseconds={},
)  # fmt: skip


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime.datetime:
        return self.now


@dataclass(frozen=True)
class Judged:
    """A golden portrait: its bytes, the verdict on them, and what it really is."""

    name: str
    picture: bytes
    verdict: Verdict
    label: Any


def judged_portraits(golden: GoldenSet, policy: PolicyContract, detector: Detector, count: int) -> list[Judged]:
    """The first portraits that can be reviewed."""
    found = []
    for portrait in golden_portraits(golden):
        data = read_file(portrait.path, policy.pixel_pipeline)
        verdict = detector.predict(data, portrait.path.name)
        if verdict.outcome in ("judged", "abstained"):
            found.append(Judged(portrait.name, data, verdict, "fake" if portrait.label else "real"))
        if len(found) == count:
            break
    return found


def another(verdict: Verdict, number: int, label: str) -> tuple[bytes, Verdict]:
    """An item of its own: other bytes, and a verdict on just these with the label asked for."""
    picture = f"picture {number}".encode()
    digest = hashlib.sha256(picture).hexdigest()
    return picture, verdict.model_copy(update={"label": label, "file_sha256": digest})


def store_at(folder: Path, contract: LoadedContract, clock: Clock, key: ReviewKey | None = None) -> ReviewStore:
    """A store under the key of 32 equal bytes, on a clock of the test's."""
    return ReviewStore.open(folder, key or ReviewKey(b"k" * 32), contract, clock=clock)
