"""A second look where the first finds no face, and a look at the parts of a long picture whatever the first finds.

The second look has a border of air about the picture, and turns it by quarter turns. BlazeFace was trained on people in
rooms and misses a face that fills its picture. In a black border it finds it, but fires on animals, busts and drawings
too; so a face found there counts only when the face mesh confirms it and when it lacks the air that would have let the
first look find it. What is found only after a turn is not judged; it is looked for so that the answer says that the
face is turned, and not that there is none.

The face mesh also settles doubts about the first look. Of 2,904 portraits that BlazeFace scores 0.64 to 0.85 the mesh
is unsure of 3, and of none of the 605 below 0.7; of a hand scored 0.65, and of a face upside down that is read as an
upright one, it is sure that they are none. So what scores below ``second_look_doubt`` counts where the mesh sees it.

A group in a strip is shrunk to the 192 pixels of its longer side, and one sure face would end the search. So
overlapping squares of a long picture are read one by one. Air says nothing there, since a member of a group has it; the
face mesh must be surer instead: of 399 portraits put into groups its logit was 20 and more (but two: 14, and 8 for a
small profile that the finder is sure of), in strips of golden pictures without a face, busts and drawings, 14 at most.
Of groups of golden portraits the first look loses 3 to 5 % of the faces up to a ratio of 16:9, then 12 % and more. It
also sees them so small that its box is off by up to 0.4 of the face, a part's by 0.15: so a part's face replaces its.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.blazeface import INPUT_SIDE, BlazeFace, Letterbox, letterbox, overlap
from ecdd.pipeline.face import DetectorIdentity, Face, Look, is_certain, roll_degrees, sort_faces
from ecdd.pipeline.face_mesh import FaceMesh, Mesh
from ecdd.pipeline.parts import Square, is_cut, moved_by, squares

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import FaceDetector

LYING = 45.0  # degrees: a face turned by less is nearer to upright than to lying on its side


class SecondLook:
    """BlazeFace, asked again where it finds no face that counts, and about parts of a long picture.

    Pictures with a face of ``score_threshold`` and ``second_look_doubt`` cost and give exactly what they do without a
    second look, but for those whose longer side is beyond ``second_look_parts_ratio`` shorter ones.

    Parameters
    ----------
    first : BlazeFace
        The detector of the first look.
    policy : FaceDetector
        ``second_look`` and the knobs that begin with it.

    Raises
    ------
    DetectorError
        The face mesh is not the file that the contract names.
    """

    def __init__(self, first: BlazeFace, policy: FaceDetector) -> None:
        self._first, self._policy = first, policy
        self._mesh = FaceMesh(policy.second_look_sha256)

    def identity(self) -> DetectorIdentity:
        """Name, version, hash and settings of the detector of all looks."""
        return self._first.identity()

    def detect(self, image: Image.Image) -> list[Face]:
        """Find faces in an upright RGB picture; see :class:`ecdd.pipeline.face.FaceBackend`."""
        found = [face for face in self._first.detect(image) if not self._is_refuted(face, image)]
        found = self._with_parts(image, found)
        if any(is_certain(face, self._policy) for face in found):
            return found
        policy = self._policy
        bordered = letterbox(image, INPUT_SIDE, policy.detection_downscale, policy.second_look_border)
        # upright and upside down compete: BlazeFace may read a face either way, and surer the right way
        for turns in ((0,),) if policy.second_look == "border" else ((0, 2), (1, 3)):
            faces = [face for turn in turns for face in self._look(image, bordered, turn)]
            if faces:
                return _one_each(faces, policy.nms_iou)
        return found

    def _is_refuted(self, face: Face, image: Image.Image) -> bool:
        """Whether a face would count, but so nearly not that the mesh is asked, which does not see it."""
        doubtful = is_certain(face, self._policy) and face.score < self._policy.second_look_doubt
        return doubtful and self._mesh_of(face, image).presence < self._policy.second_look_presence

    def _with_parts(self, image: Image.Image, found: list[Face]) -> list[Face]:
        """What the first look found, and what parts of a long picture show; there a part's face takes its place."""
        policy, seen = self._policy, list[Face]()
        for square in _parts(image.size, policy):
            part = letterbox(image.crop(square), INPUT_SIDE, policy.detection_downscale)
            for face in (moved_by(face, square[:2]) for face in self._first.read(*part)):
                whole = face.score >= policy.second_look_score and not is_cut(face.box, square, image.size)
                if whole and self._is_confirmed(face, image, "part"):
                    seen.append(dataclasses.replace(face, look="part"))
        seen = _one_each(seen, policy.nms_iou)
        return sort_faces([*seen, *(face for face in found if not _is_among(face, seen, policy.nms_iou))])

    def _look(self, image: Image.Image, bordered: tuple[NDArray[np.uint8], Letterbox], turns: int) -> list[Face]:
        """Faces in the picture with its border, after quarter turns; only confirmed ones."""
        look: Look = "turned" if turns else "second"
        least = self._policy.second_look_score
        found = (face for face in self._first.read(*bordered, turns) if face.score >= least)
        return [dataclasses.replace(face, look=look) for face in found if self._is_confirmed(face, image, look)]

    def _is_confirmed(self, face: Face, image: Image.Image, look: Look) -> bool:
        """Whether the mesh sees a face there, and the first look had a reason to miss it: small, no air, or lying."""
        mesh = self._mesh_of(face, image)
        present = mesh.presence >= self._policy.second_look_presence
        if look == "part":  # air says nothing there: the mesh must be surer, or the finder
            sure = mesh.logit >= self._policy.second_look_parts_logit
            return sure or (present and face.score >= self._policy.second_look_parts_score)
        if not present:
            return False
        if look == "turned":
            return roll_degrees(face) > LYING
        return air(mesh, image.size) <= self._policy.second_look_air

    def _mesh_of(self, face: Face, image: Image.Image) -> Mesh:
        (x0, y0), (x1, y1) = face.landmarks[:2]
        centre = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
        return self._mesh.read(image, centre, face.side, math.atan2(y1 - y0, x1 - x0))


def _parts(size: tuple[int, int], policy: FaceDetector) -> list[Square]:
    """The squares of a picture that are read; none of a picture that is not long, or so long that they are too many."""
    if not 0 < policy.second_look_parts_ratio < max(size) / min(size):
        return []
    found = squares(size, policy.second_look_parts_overlap)
    return found if len(found) <= policy.second_look_parts_most else []


def _one_each(faces: list[Face], iou: float) -> list[Face]:
    """The best of faces that overlap by more than ``iou``: the same face, found at several turns or in parts."""
    kept: list[Face] = []
    for face in sort_faces(faces):
        if not _is_among(face, kept, iou):
            kept.append(face)
    return kept


def _is_among(face: Face, others: list[Face], iou: float) -> bool:
    """Whether a face overlaps one of the others by more than ``iou``."""
    boxes = np.array([other.box for other in others], np.float64).reshape(-1, 4)
    return bool(np.any(overlap(np.array(face.box, np.float64), boxes) > iou))


def air(mesh: Mesh, size: tuple[int, int]) -> float:
    """Gap between a face and the nearest edge of its picture / width of the face; negative where it is cut off.

    Parameters
    ----------
    mesh : Mesh
        The face's surface, in picture pixels.
    size : tuple of int
        Width and height of the picture.
    """
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    gaps = np.concatenate([low, np.array(size) - high])
    return float(gaps.min() / max(high[0] - low[0], 1e-9))
