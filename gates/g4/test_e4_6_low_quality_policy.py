"""E4.6 low-quality policy: policy A (abstain) is compared with policy B (a stricter threshold) on really degraded
pictures; the choice is frozen in the contract.

The rule of choice, written down before anything was measured: B only if a stricter t_fake exists whose FPR on
degraded reals is shown to be within the contract's limit, and it then calls at least a tenth of the degraded fakes
fake; else A. Fails when the contract holds the other policy, or the detector does not follow it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ecdd.calibration.binomial_bounds import allowed_errors
from ecdd.contract.model_sections import OperatingPoint
from gates.support.fixtures import Detector, Evidence, GoldenSet, NotTested, PolicyContract
from gates.support.portraits import Portrait, data_portraits, golden_portraits, open_portrait, png, relaxed

LEAST_GAIN = 0.1
LEVELS: dict[str, tuple[float, ...]] = {"blur": (2.0, 4.0), "jpeg": (20.0, 10.0), "down_up": (0.25, 0.15)}


def degrade(image: Image.Image, kind: str, level: float) -> bytes:
    """One degradation of a picture: Gaussian blur (px a 512 px side), JPEG quality, or reduction and enlargement."""
    if kind == "blur":
        return png(image.filter(ImageFilter.GaussianBlur(level * min(image.size) / 512)))
    if kind == "jpeg":
        stored = io.BytesIO()
        image.save(stored, "JPEG", quality=int(level))
        return stored.getvalue()
    size = (max(1, round(image.width * level)), max(1, round(image.height * level)))
    return png(image.resize(size, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Degraded:
    """A degraded picture that the guardrails keep from the model, and the P(fake) it would have had."""

    kind: str
    label: int
    probability: float


def degraded_scores(portraits: Sequence[Portrait], detector: Detector) -> list[Degraded]:
    """Degrade portraits in every way, and judge those that the guardrails stop with the guardrails off."""
    open_gates, found = relaxed(detector), []
    for portrait in portraits:
        image = open_portrait(portrait, detector.policy)
        for kind, levels in LEVELS.items():
            for level in levels:
                content = degrade(image, kind, level)
                if portrait.label is None or not set(detector.predict(content).reason_codes) & {"GR-004", "GR-005"}:
                    continue
                verdict = open_gates.predict(content)
                if len(verdict.faces) == 1 and verdict.probability is not None:
                    found.append(Degraded(kind, portrait.label, verdict.probability))
    return found


@pytest.mark.experiment("E4.6")
def test_abstain_against_a_stricter_threshold(
    evidence: Evidence, golden: GoldenSet, detector: Detector, policy: PolicyContract, data_root: Path | None
) -> None:
    _compare("golden", golden_portraits(golden), evidence, detector)
    portraits = data_portraits(data_root, "face", ("CALIBRATION",))
    if not portraits:
        raise NotTested("choice of the low-quality policy", "needs --data with portraits tagged CALIBRATION")
    scores, gain = _compare("data", portraits, evidence, detector)
    chosen = "stricter_threshold" if gain is not None and gain >= LEAST_GAIN else "abstain"
    evidence.measure("chosen_policy", chosen)
    same = int(chosen == policy.quality_gates.low_quality_policy)
    evidence.check("contract_holds_the_chosen_policy", same, limit=1, op="==", worst=[chosen], n=len(scores))


def _compare(
    origin: str, portraits: Sequence[Portrait], evidence: Evidence, detector: Detector
) -> tuple[list[Degraded], float | None]:
    """Tell what both policies do to degraded portraits; which, and the share of all fakes that B calls fake."""
    scores, point = degraded_scores(portraits, detector), detector.policy.operating_point
    rows = [_row(kind, [one for one in scores if one.kind == kind], point) for kind in LEVELS]
    rows.append(_row("all", scores, point))
    evidence.table(f"low_quality_{origin}", rows)
    evidence.check(f"{origin}_degraded_pictures", len(scores), limit=1, op=">=", unit="picture", n=len(portraits))
    return scores, rows[-1]["b_fakes_called_fake"]


def _row(kind: str, scores: list[Degraded], point: OperatingPoint) -> dict[str, Any]:
    """What both policies do to the degraded pictures of a kind; rates over all of them."""
    real = np.sort([one.probability for one in scores if one.label == 0])
    fake = np.array([one.probability for one in scores if one.label == 1])
    row: dict[str, Any] = {
        "kind": kind,
        "reals": len(real),
        "fakes": len(fake),
        "a_decided": 0.0,
        "fpr_at_the_usual_threshold": float((real >= point.t_fake).mean()) if len(real) else None,
        "b_t_fake": None,
        "b_fakes_called_fake": None,
    }
    allowed = allowed_errors(len(real), point.max_fpr, point.confidence) if len(real) else -1
    if allowed >= 0:
        strict = max(point.t_fake, float(real[len(real) - 1 - allowed]) + 1e-6)
        row["b_t_fake"] = strict
        row["b_fakes_called_fake"] = float((fake >= strict).mean()) if len(fake) else None
    return row
