"""E4.6 low-quality policy: policy A (abstain) is compared with policy B (a stricter threshold) on really degraded
pictures; the choice is frozen in the contract.

The rule of choice, written down before anything was measured: B only if a stricter t_fake exists whose FPR on
degraded reals is shown to be within the contract's limit, and it then calls at least a tenth of the degraded fakes
fake; else A. Fails when the contract holds the other policy, or the detector does not follow it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ecdd.calibration.binomial_bounds import allowed_errors
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


def degraded_scores(portraits: Sequence[Portrait], detector: Any) -> list[tuple[str, str, int, float]]:
    """Name, kind, label and probability of every degraded picture that the guardrails keep from the detector."""
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
                    found.append((portrait.name, kind, portrait.label, verdict.probability))
    return found


@pytest.mark.experiment("E4.6")
def test_abstain_against_a_stricter_threshold(
    evidence: Any, golden: Any, detector: Any, policy: Any, data_root: Any
) -> None:
    for origin, portraits in (
        ("golden", golden_portraits(golden)),
        ("data", data_portraits(data_root, "face", ("CALIBRATION",))),
    ):
        if not portraits:
            evidence.not_tested("choice of the low-quality policy", "needs --data")
            continue
        scores = degraded_scores(portraits, detector)
        rows = [_row(kind, [s for s in scores if kind in (s[1], "all")] if kind != "all" else scores, policy)
                for kind in (*LEVELS, "all")]  # fmt: skip
        evidence.table(f"low_quality_{origin}", rows)
        evidence.check(f"{origin}_degraded_pictures", len(scores), limit=1, op=">=", unit="picture", n=len(portraits))
        if origin == "data":
            allowed = rows[-1]["b_fakes_called_fake"] is not None and rows[-1]["b_fakes_called_fake"] >= LEAST_GAIN
            chosen = "stricter_threshold" if allowed else "abstain"
            evidence.measure("chosen_policy", chosen)
            same = int(chosen == policy.quality_gates.low_quality_policy)
            evidence.check("contract_holds_the_chosen_policy", same, limit=1, op="==", worst=[chosen], n=len(scores))


def _row(kind: str, scores: list[tuple[str, str, int, float]], policy: Any) -> dict[str, Any]:
    """What both policies do to the degraded pictures of a kind; rates over all of them."""
    point = policy.operating_point
    real = np.sort([p for _, _, label, p in scores if label == 0])
    fake = np.array([p for _, _, label, p in scores if label == 1])
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
