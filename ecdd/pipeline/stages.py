"""S0 to S4 in one call: from the bytes of a file to the faces that may reach the model.

Training, calibration and inference all prepare pictures here and nowhere else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.pipeline import blur, preprocess
from ecdd.pipeline.compression import jpeg_quality
from ecdd.pipeline.decode import Decoded, decode
from ecdd.pipeline.face import Face, FaceBackend, face_crop_box, is_certain, turned_crop
from ecdd.pipeline.given_pixels import given_pixels
from ecdd.pipeline.guardrails import faces_that_count, faces_to_judge, picture_codes, resolution_codes
from ecdd.pipeline.preprocess import CropBox
from ecdd.pipeline.quality import FaceQuality, face_codes, is_soft, measure

if TYPE_CHECKING:
    from PIL import Image

    from ecdd.contract.pixel_sections import FaceDetector, PixelPipeline
    from ecdd.contract.schema import PolicyContract
    from ecdd.pipeline.reason_codes import ReasonCode

_TIMED: Final = ("decode", "detect", "crop_resize", "quality", "normalise")


@dataclass(frozen=True, eq=False)
class PreparedFace:
    """One face, ready for the model unless it carries reason codes.

    Attributes
    ----------
    face : Face
        S2: box, score, landmarks in upright picture pixels.
    crop_box : CropBox
        What was cut out, upright picture pixels, half open. Under ``eye_line`` the upright square about the
        turned one.
    s3 : ndarray of uint8, shape (S, S, 3)
        Resized crop, RGB.
    quality : FaceQuality
        What the gates measured.
    reason_codes : tuple of ReasonCode
        Gates that this face failed; empty when it may be judged.
    soft : bool
        Soft enough to be reported, yet still judged.
    """

    face: Face
    crop_box: CropBox
    s3: NDArray[np.uint8]
    quality: FaceQuality
    reason_codes: tuple[ReasonCode, ...]
    soft: bool

    def s4(self, policy: PixelPipeline) -> NDArray[np.float32]:
        """Normalised tensor (S, S, 3) float32."""
        return preprocess.normalise(self.s3, policy)


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """One picture after S0 to S3 and the guardrails.

    Attributes
    ----------
    decoded : Decoded
        S0 and S1.
    faces : tuple of PreparedFace
        Every face that counts (``is_certain``), by falling score; those that fail a gate keep their codes.
    reason_codes : tuple of ReasonCode
        Codes of the whole picture (GR-006, GR-001, GR-002, GR-007); with any of them nothing is judged.
    candidates : int
        Detections from ``candidate_threshold`` on that do not count.
    counting : tuple of int
        Indices into ``faces`` that ``multi_face_policy`` looks at.
    judgeable : tuple of int
        Indices into ``faces`` that may reach the model.
    milliseconds : dict of str to float
        Time by stage: decode, detect, crop_resize, quality, normalise (filled by :meth:`batch`).
    """

    decoded: Decoded
    faces: tuple[PreparedFace, ...]
    reason_codes: tuple[ReasonCode, ...]
    candidates: int
    counting: tuple[int, ...]
    judgeable: tuple[int, ...]
    milliseconds: dict[str, float]

    @property
    def counting_codes(self) -> tuple[tuple[ReasonCode, ...], ...]:
        """Codes of each face that counts; what the decision looks at beside the probabilities."""
        return tuple(self.faces[k].reason_codes for k in self.counting)

    def batch(self, policy: PixelPipeline) -> NDArray[np.float32]:
        """S4 of the judgeable faces, shape (N, S, S, 3) float32, N may be 0."""
        side = policy.input_size
        tensor = np.empty((len(self.judgeable), side, side, 3), np.float32)
        with _timed(self.milliseconds, "normalise"):
            for row, index in enumerate(self.judgeable):
                tensor[row] = self.faces[index].s4(policy)
        return tensor


def prepare(data: bytes, policy: PolicyContract, detector: FaceBackend, *, name: str | None = None) -> PreparedPicture:
    """Decode a file, find its faces, cut and resize them and apply the guardrails.

    Parameters
    ----------
    data : bytes
        The file.
    policy : PolicyContract
        The whole contract.
    detector : FaceBackend
        From :func:`ecdd.pipeline.face_detectors.load_detector` with the same contract.
    name : str, optional
        File name, for the check of content against extension.

    Raises
    ------
    Rejected
        When the file cannot be decoded under the contract. Missing or unfit faces are reason codes, not errors.
    """
    milliseconds = dict.fromkeys(_TIMED, 0.0)
    with _timed(milliseconds, "decode"):
        decoded = decode(data, policy.pixel_pipeline, name=name)
    return _prepared(decoded, policy, detector, milliseconds)


def prepare_given(
    pixels: Image.Image | NDArray[np.uint8], policy: PolicyContract, detector: FaceBackend
) -> PreparedPicture:
    """As `prepare`, for pixels that came without a file; see `ecdd.pipeline.given_pixels`."""
    milliseconds = dict.fromkeys(_TIMED, 0.0)
    with _timed(milliseconds, "decode"):
        decoded = given_pixels(pixels, policy.pixel_pipeline)
    return _prepared(decoded, policy, detector, milliseconds)


def _prepared(
    decoded: Decoded, policy: PolicyContract, detector: FaceBackend, milliseconds: dict[str, float]
) -> PreparedPicture:
    """S2 and S3 of S1, and the guardrails."""
    if low := resolution_codes(decoded.image.size, policy.quality_gates):
        return PreparedPicture(decoded, (), low, 0, (), (), milliseconds)
    with _timed(milliseconds, "detect"):
        detections = detector.detect(decoded.image)
    certain = [face for face in detections if is_certain(face, policy.face_detector)]
    faces = tuple(prepare_face(decoded, face, policy, milliseconds) for face in certain)
    candidates = len(detections) - len(faces)
    codes = picture_codes(len(faces), candidates, policy.quality_gates)
    counting = faces_that_count([face.quality.face_side for face in faces], policy.quality_gates)
    judgeable = () if codes else faces_to_judge(counting, [face.reason_codes for face in faces])
    return PreparedPicture(decoded, faces, codes, candidates, counting, judgeable, milliseconds)


def prepare_face(decoded: Decoded, face: Face, policy: PolicyContract, milliseconds: dict[str, float]) -> PreparedFace:
    """Cut, resize and measure one face; adds the time spent to ``milliseconds``."""
    with _timed(milliseconds, "crop_resize"):
        box = face_crop_box(face, decoded.image.size, policy.face_detector)
        crop = cut_face(decoded.image, face, box, policy.face_detector)
        s3 = preprocess.resize(crop, policy.pixel_pipeline)
    with _timed(milliseconds, "quality"):
        gates = policy.quality_gates
        seen = s3 if len(s3) == blur.SIDE else preprocess.resize(crop, policy.pixel_pipeline, (blur.SIDE, blur.SIDE))
        quality = measure(decoded.image, face, seen, jpeg_quality(decoded.quantisation_tables), gates)
        codes, soft = face_codes(quality, gates), is_soft(quality, gates)
    return PreparedFace(face, box, s3, quality, codes, soft)


def cut_face(image: Image.Image, face: Face, box: CropBox, policy: FaceDetector) -> Image.Image:
    """Crop of a face at native resolution: upright (no resampling), or turned to the eye line."""
    if policy.crop_alignment == "eye_line":
        return turned_crop(image, face, box)
    return preprocess.cut(image, box, policy)


def crop_digest(image: Image.Image, box: CropBox, policy: FaceDetector, face: Face | None = None) -> str:
    """SHA-256 of the cut crop's bytes, named with its layout, dtype and shape (S2).

    Parameters
    ----------
    image : PIL.Image.Image
        S1.
    box : CropBox
        The face's crop.
    policy : FaceDetector
        ``crop_overflow`` and ``crop_alignment``.
    face : Face, optional
        Needed under ``eye_line``, whose angle it gives.

    Raises
    ------
    ValueError
        Under ``eye_line`` without a face.
    """
    if policy.crop_alignment == "eye_line" and face is None:
        raise ValueError("crop_alignment is eye_line: the digest of a turned crop needs its face")
    crop = preprocess.cut(image, box, policy) if face is None else cut_face(image, face, box, policy)
    return f"sha256-rgb-uint8-hwc-{crop.height}x{crop.width}:{hashlib.sha256(crop.tobytes()).hexdigest()}"


@contextmanager
def _timed(milliseconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time of a block to its stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        milliseconds[stage] += (time.perf_counter() - start) * 1e3
