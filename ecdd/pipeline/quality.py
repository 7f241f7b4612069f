"""Quality of a face: what is measured of it, and which reason code keeps it from being judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ecdd.pipeline.blur import laplacian_variance
from ecdd.pipeline.compression import JpegQuality, Kind, blockiness
from ecdd.pipeline.face import roll_degrees
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.pipeline.tonal_range import effective_levels, large_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ecdd.contract.pixel_sections import QualityGates
    from ecdd.pipeline.face import Face

# Blockiness is measured in the middle of the face, at most this many pixels wide: enough lines of the grid, and
# a face of 2000 pixels costs no more than one of 512.
BLOCKINESS_WINDOW = 512


@dataclass(frozen=True)
class FaceQuality:
    """What the quality gates look at.

    Attributes
    ----------
    face_side : float
        Longer side of the face box, pixels of the upright picture.
    blur : float
        Variance of the Laplacian of the luma of the crop at 256 px, level²; small is blurred.
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


def measure(
    image: Image.Image, face: Face, crop: NDArray[np.uint8], quality: JpegQuality, gates: QualityGates
) -> FaceQuality:
    """What the gates look at: size, roll, blur of the resized crop, JPEG quality, blocks and shades as they are."""
    luma = np.asarray(image.crop(blockiness_window(face, image.size)).convert("L"))
    tonal = asks_for_tonal_values(gates)
    return FaceQuality(
        face_side=face.side,
        blur=laplacian_variance(crop),
        jpeg_quality=quality.value,
        jpeg_quality_kind=quality.kind,
        blockiness=blockiness(luma),
        roll=roll_degrees(face),
        tonal_levels=effective_levels(luma) if tonal else None,
        large_steps=large_steps(luma) if tonal else None,
    )


def blockiness_window(face: Face, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Part of the face box that lies in the picture, at most ``BLOCKINESS_WINDOW`` a side about its centre."""
    spans = []
    for low, high, length in zip(face.box[:2], face.box[2:], size, strict=True):
        start, end = min(max(int(low), 0), length - 1), min(max(int(high), 1), length)
        spare = max(end - start - BLOCKINESS_WINDOW, 0)
        spans.append((start + spare // 2, max(end - (spare - spare // 2), start + spare // 2 + 1)))
    (x0, x1), (y0, y1) = spans
    return x0, y0, x1, y1


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


# in the order in which they are reported
_GATES: Final[Mapping[ReasonCode, Callable[[FaceQuality, QualityGates], bool]]] = {
    ReasonCode.TOO_BLURRY: lambda quality, gates: quality.blur < gates.blur_threshold,
    ReasonCode.COMPRESSION_TOO_HEAVY: lambda quality, gates: (
        gates.low_quality_policy == "abstain" and compression_is_heavy(quality, gates)
    ),
    ReasonCode.FACE_TURNED: lambda quality, gates: quality.roll > gates.max_roll,
}


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
    return tuple(code for code, fails in _GATES.items() if fails(quality, gates))
