"""Which pictures and faces are not judged, and by which reason code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecdd.pipeline.compression import Kind
from ecdd.pipeline.reason_codes import ReasonCode

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import QualityGates


@dataclass(frozen=True)
class FaceQuality:
    """What the quality gates look at.

    Attributes
    ----------
    face_side : float
        Longer side of the face box, pixels of the upright picture.
    blur : float
        Variance of the Laplacian of S3's luma, level²; small is blurred.
    jpeg_quality : float or None
        IJG quality of the file, 1 … 100; None when unknown.
    jpeg_quality_kind : {"exact", "estimated", "unknown"}
        How far the quality is to be trusted.
    blockiness : float
        Step across the 8x8 grid / step elsewhere, in the face at native resolution.
    roll : float
        Eye line against the horizontal, 0 … 180 degrees.
    tonal_levels : float or None
        Effective number of luma levels of the face, 1 … 256; None where the contract does not ask for it.
    large_steps : float or None
        Share of neighbouring pixels far apart in luma, 0 … 1; None where the contract does not ask for it.
    """

    face_side: float
    blur: float
    jpeg_quality: float | None
    jpeg_quality_kind: Kind
    blockiness: float
    roll: float = 0.0
    tonal_levels: float | None = None
    large_steps: float | None = None


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


def compression_is_heavy(quality: FaceQuality, gates: QualityGates) -> bool:
    """Whether the file's known quality is below the limit or the face's pixels show the block grid."""
    known_low = quality.jpeg_quality is not None and quality.jpeg_quality < gates.min_jpeg_quality
    return known_low or quality.blockiness > gates.max_blockiness


def is_soft(quality: FaceQuality, gates: QualityGates) -> bool:
    """Whether the face is soft enough to be reported, yet still judged."""
    return gates.blur_threshold <= quality.blur < gates.blur_warning


def asks_for_tonal_values(gates: QualityGates) -> bool:
    """Whether the contract looks at tonal values at all."""
    return gates.min_tonal_levels > 0 or gates.max_large_steps < 1


def has_few_tonal_values(quality: FaceQuality, gates: QualityGates) -> bool:
    """Whether the face is drawn with a few shades, flat or scattered (dithered)."""
    flat = quality.tonal_levels is not None and quality.tonal_levels < gates.min_tonal_levels
    return flat or (quality.large_steps is not None and quality.large_steps > gates.max_large_steps)


def face_codes(quality: FaceQuality, gates: QualityGates) -> tuple[ReasonCode, ...]:
    """Codes that keep one face from being judged.

    Size is judged first and alone: a small face is enlarged to the model's size and then *reads* as blurred and
    blocky, which would name the wrong cause. So are few tonal values: sharpness and blocks of a dithered face say
    nothing of the photograph.

    Returns
    -------
    tuple of ReasonCode
        ``(GR-003,)``, ``(GR-008,)``, or any of GR-004, GR-005 and GR-009 in this order, or empty. Under
        ``low_quality_policy: stricter_threshold`` heavy compression does not stop a face (the decision asks
        :func:`compression_is_heavy` instead).
    """
    if quality.face_side < gates.min_face_side:
        return (ReasonCode.FACE_TOO_SMALL,)
    if has_few_tonal_values(quality, gates):
        return (ReasonCode.FEW_TONAL_VALUES,)
    codes = []
    if quality.blur < gates.blur_threshold:
        codes.append(ReasonCode.TOO_BLURRY)
    if gates.low_quality_policy == "abstain" and compression_is_heavy(quality, gates):
        codes.append(ReasonCode.COMPRESSION_TOO_HEAVY)
    if quality.roll > gates.max_roll:
        codes.append(ReasonCode.FACE_TURNED)
    return tuple(codes)


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
