"""The repository's pixel policies, and variants of them, for tests of decode and preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.loading import load_contract
from ecdd.contract.pixel_sections import FaceDetector, PixelPipeline
from ecdd.pipeline.decode import Decoded, decode
from ecdd.pipeline.reason_codes import Rejected

_CONTRACT = load_contract(Path(__file__).parents[2] / "contracts" / "policy_contract.yaml").policy
PIXELS: PixelPipeline = _CONTRACT.pixel_pipeline
FACES: FaceDetector = _CONTRACT.face_detector


def pixels_with(**changes: Any) -> PixelPipeline:
    """The pixel section with some knobs changed, validated again."""
    return PixelPipeline.model_validate({**PIXELS.model_dump(), **changes})


def faces_with(**changes: Any) -> FaceDetector:
    """The face section with some knobs changed, validated again."""
    return FaceDetector.model_validate({**FACES.model_dump(), **changes})


def levels(decoded: Decoded) -> NDArray[np.int64]:
    """S1 as numbers, shape (H, W, 3)."""
    return np.asarray(decoded.image).astype(np.int64)


def outcome(data: bytes, policy: PixelPipeline = PIXELS, name: str | None = None) -> tuple[str, ...]:
    """Reason codes of decoding; empty when the picture decodes. Any other exception than `Rejected` escapes."""
    try:
        decode(data, policy, name=name)
    except Rejected as rejected:
        return tuple(str(code) for code in rejected.codes) or ("rejected without a code",)
    return ()
