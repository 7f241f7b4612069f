"""The surface of a face for forgeries: where on the picture each of the mesh's 468 points lies, and the head's turn."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from PIL import Image

from ecdd.pipeline import face_mesh
from ecdd.pipeline.face import eye_line_angle
from ecdd.pipeline.face_mesh import CHEEKS, Mesh
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused

# the inner edge of the lips, round from the left corner by the upper lip to the right corner and back
INNER_LIPS: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
LEAST_PRESENCE: Final = 0.5


class FaceMesh(face_mesh.FaceMesh):
    """The packaged network, with a second reading where the first one found the face."""

    def find(self, source: FacePicture) -> Mesh:
        """Find the surface of a face.

        Parameters
        ----------
        source : FacePicture
            The face's box and eyes say where to look; the first result says where to look again.

        Raises
        ------
        ForgeryRefused
            The network sees no face there.
        """
        x0, y0, x1, y1 = source.face.box
        mesh = self._confirmed(source, ((x0 + x1) / 2, (y0 + y1) / 2), source.face.side, eye_line_angle(source.face))
        low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
        left, right = mesh.points[CHEEKS[0]], mesh.points[CHEEKS[1]]
        angle = math.atan2(right[1] - left[1], right[0] - left[0])
        middle = (low + high) / 2
        # a turned face has its ears near each other: their line says little, the eyes' line more
        if abs(mesh.yaw) > math.radians(40):
            angle = eye_line_angle(source.face)
        return self._confirmed(source, (float(middle[0]), float(middle[1])), float((high - low).max()), angle)

    def _confirmed(self, source: FacePicture, centre: tuple[float, float], side: float, angle: float) -> Mesh:
        """Read the surface; refused where the network sees none."""
        mesh = self.read(Image.fromarray(source.picture), centre, side, angle)
        if mesh.presence < LEAST_PRESENCE:
            said = f"presence {mesh.presence:.3f}, at least {LEAST_PRESENCE}"
            raise ForgeryRefused("no face for the mesh", said)
        return mesh


@lru_cache(maxsize=1)
def load_face_mesh() -> FaceMesh:
    """The packaged network, opened once a process."""
    return FaceMesh()
