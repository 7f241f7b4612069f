"""Faces in a picture and the square that is cut out for each (stage S2): one interface for every detector."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from PIL import Image

from ecdd.errors import EcddError
from ecdd.pipeline.preprocess import CropBox

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import FaceDetector

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Look = Literal["first", "second", "turned", "part"]


class DetectorError(EcddError):
    """The face detector that the contract names cannot be had; the message says what to do."""


@dataclass(frozen=True)
class Face:
    """One face in an upright picture (S1).

    Attributes
    ----------
    box : tuple of float
        ``x0, y0, x1, y1`` in picture pixels, half open; may reach beyond the picture's edge.
    score : float
        Confidence in 0 … 1.
    landmarks : tuple of (x, y)
        In picture pixels. The first is the eye on the left of the picture, the second the eye on its right;
        what follows depends on the detector (BlazeFace: nose tip, mouth centre, two ear tragions). May be empty.
        In a picture that lies on its side they turn with the face: the first is then above or below the second.
    look : {"first", "second", "turned", "part"}
        Which look found it: at the picture as it is, with a border of air, turned by quarter turns, or at a part.
    """

    box: Box
    score: float
    landmarks: tuple[Point, ...] = ()
    look: Look = "first"

    @property
    def side(self) -> float:
        """Longer side of the box, in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


@dataclass(frozen=True)
class DetectorIdentity:
    """What found a face: goes into every result and every evidence record."""

    name: str
    version: str
    weights_sha256: str
    score_threshold: float
    detection_size: int


class FaceBackend(Protocol):
    """A face detector."""

    def detect(self, image: Image.Image) -> list[Face]:
        """Find faces in an upright RGB picture.

        Returns
        -------
        list of Face
            Every face with score >= the contract's ``candidate_threshold``, sorted by ``(-score, box)``.
        """
        ...

    def identity(self) -> DetectorIdentity:
        """Name, version, hash and settings of this detector."""
        ...


def verify_weights(content: bytes, version: str, policy: FaceDetector, origin: str) -> str:
    """Compare version and SHA-256 of a weight file with the contract.

    Returns
    -------
    str
        The SHA-256 (hex), equal to ``policy.weights_sha256``.

    Raises
    ------
    DetectorError
        When either differs.
    """
    if version != policy.version:
        raise DetectorError(
            f"face_detector.version is {policy.version!r}, but {origin} is {version!r}; "
            "install the version that the contract names, or set the contract to this one and re-freeze S2"
        )
    return verify_sha256(content, policy.weights_sha256, "face_detector.weights_sha256", origin)


def verify_sha256(content: bytes, expected: str, key: str, origin: str) -> str:
    """Compare the SHA-256 of a weight file with a key of the contract; gives it back.

    Raises
    ------
    DetectorError
        It differs.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise DetectorError(
            f"{key} is {expected}, but {origin} has {digest}; "
            "restore the file, or set the contract to this hash and re-freeze S2"
        )
    return digest


def sort_faces(faces: Sequence[Face]) -> list[Face]:
    """Order faces by falling score, equal scores by box: the same order for the same faces, always."""
    return sorted(faces, key=lambda face: (-face.score, face.box, face.landmarks))


def round_half_up(value: float) -> int:
    """Nearest integer, halves upwards (Python's own ``round`` sends halves to the even neighbour)."""
    return math.floor(value + 0.5)


def _place(centre: float, side: int, length: int) -> int:
    """First pixel of a span of ``side`` about ``centre``, moved inside 0 … ``length``."""
    return min(max(round_half_up(centre - side / 2), 0), length - side)


def crop_side(face: Face, policy: FaceDetector) -> int:
    """Side of the square before the picture's edge has its say: margin x longer box side, halves up, >= 1."""
    return max(round_half_up(policy.crop_margin * face.side), 1)


def eye_line_angle(face: Face) -> float:
    """Angle of the line from the left to the right eye against the horizontal, in radians.

    Positive when the eye on the right lies lower. 0 without two landmarks.
    """
    if len(face.landmarks) < 2:
        return 0.0
    (x0, y0), (x1, y1) = sorted(face.landmarks[:2])
    return math.atan2(y1 - y0, x1 - x0) if (x0, y0) != (x1, y1) else 0.0


def is_certain(face: Face, policy: FaceDetector) -> bool:
    """Whether a face counts: it reaches ``score_threshold``, or a later look found it and the face mesh agreed."""
    return face.score >= policy.score_threshold or face.look != "first"


def roll_degrees(face: Face) -> float:
    """How far the eye line is turned from the horizontal, 0 … 180 degrees; 180 is upside down.

    Of the first two landmarks in the detector's own order (unlike :func:`eye_line_angle`, which sorts them and so
    cannot tell a face from one upside down). 0 without two landmarks.
    """
    if len(face.landmarks) < 2:
        return 0.0
    (x0, y0), (x1, y1) = face.landmarks[:2]
    return abs(math.degrees(math.atan2(y1 - y0, x1 - x0)))


def face_crop_box(face: Face, picture_size: tuple[int, int], policy: FaceDetector) -> CropBox:
    """Square about the centre of the face's box, in whole pixels of the upright picture.

    The side is ``crop_margin`` x the longer box side; side and corner are rounded half up. With
    ``shift_then_shrink`` a square beyond the edge is moved inside, and when it is larger than the shorter side
    of the picture it first shrinks to it. With ``replicate`` it stays where it is and may exceed the picture.
    With ``eye_line`` the result is the upright square about the *turned* square, so that the turned one
    has all its pixels in the picture.

    Parameters
    ----------
    face : Face
        In pixels of the picture.
    picture_size : tuple of int
        Width and height of the upright picture, pixels.
    policy : FaceDetector
        ``crop_margin``, ``crop_alignment``, ``crop_overflow``.
    """
    width, height = picture_size
    x = (face.box[0] + face.box[2]) / 2
    y = (face.box[1] + face.box[3]) / 2
    side = crop_side(face, policy)
    if policy.crop_alignment == "eye_line":
        side = max(round_half_up(side * _turn_factor(eye_line_angle(face))), 1)
    if policy.crop_overflow == "replicate":
        x0, y0 = round_half_up(x - side / 2), round_half_up(y - side / 2)
    else:
        side = min(side, width, height)
        x0, y0 = _place(x, side, width), _place(y, side, height)
    return CropBox(x0, y0, x0 + side, y0 + side)


def _turn_factor(angle: float) -> float:
    """Side of the upright square about a turned square / side of the turned square."""
    return abs(math.cos(angle)) + abs(math.sin(angle))


def turned_crop(image: Image.Image, face: Face, box: CropBox) -> Image.Image:
    """Square crop with its rows parallel to the eye line: one bilinear affine resampling at native scale.

    Offered for ``crop_alignment: eye_line``. It costs high frequencies that the 9x9 receptive field lives on:
    on 119 portraits S3 lost 20 % of its energy above a quarter cycle a pixel (median; more than half where the
    face is about 130 pixels, 6 % where it is 650), which is why the contract's choice is ``axis_aligned``.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright RGB picture.
    face : Face
        Its first two landmarks give the angle.
    box : CropBox
        From :func:`face_crop_box`; the turned square is the largest one inside it at this angle.

    Returns
    -------
    PIL.Image.Image
        RGB square, side = side of ``box`` / (abs cos + abs sin), rounded half up.
    """
    angle = eye_line_angle(face)
    side = max(round_half_up((box.x1 - box.x0) / _turn_factor(angle)), 1)
    cos, sin = math.cos(angle), math.sin(angle)
    centre_x, centre_y, half = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, side / 2
    matrix = (
        cos,
        -sin,
        centre_x - half * cos + half * sin,
        sin,
        cos,
        centre_y - half * sin - half * cos,
    )
    return image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
