"""Which pictures are not judged, by which reason code, and which of their faces count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecdd.pipeline.reason_codes import ReasonCode

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import QualityGates


def resolution_codes(size: tuple[int, int], gates: QualityGates) -> tuple[ReasonCode, ...]:
    """GR-006 when the shorter side of the picture is below ``min_image_side``; faces are then not searched."""
    return (ReasonCode.RESOLUTION_TOO_LOW,) if min(size) < gates.min_image_side else ()


def picture_codes(faces: int, candidates: int, gates: QualityGates) -> tuple[ReasonCode, ...]:
    """Codes that keep a whole picture from being judged once its faces were searched.

    Parameters
    ----------
    faces : int
        Detections with score >= ``score_threshold``.
    candidates : int
        Detections from ``candidate_threshold`` up to below ``score_threshold``.
    gates : QualityGates
        The contract's section.

    Returns
    -------
    tuple of ReasonCode
        One code or none: GR-001 (nothing), GR-002 (candidates only), GR-007 (more than
        ``max_faces``, or more than one under ``reject_multi``).
    """
    if faces == 0:
        return (ReasonCode.LOW_FACE_CONFIDENCE if candidates else ReasonCode.NO_FACE,)
    limit = 1 if gates.multi_face_policy == "reject_multi" else gates.max_faces
    return (ReasonCode.TOO_MANY_FACES,) if faces > limit else ()


def faces_that_count(sides: Sequence[float], gates: QualityGates) -> tuple[int, ...]:
    """Indices of the faces that the policy looks at: the largest one under ``largest_face``, else all.

    Parameters
    ----------
    sides : sequence of float
        Longer box side of each face, pixels.
    gates : QualityGates
        ``multi_face_policy``: of equally large faces the first one counts. When it fails a gate, no other takes its
        place.
    """
    if gates.multi_face_policy == "largest_face" and sides:
        return (max(range(len(sides)), key=lambda k: (sides[k], -k)),)
    return tuple(range(len(sides)))


def faces_to_judge(counting: Sequence[int], codes: Sequence[tuple[ReasonCode, ...]]) -> tuple[int, ...]:
    """Indices of the faces that may reach the model: those that count and failed no gate; ``codes`` of each face."""
    return tuple(k for k in counting if not codes[k])
