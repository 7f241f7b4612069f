"""468 points of a face's surface, by MediaPipe's face mesh through LiteRT.

Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019, and the
model card "MediaPipe Face Mesh". Only training uses it: no verdict depends on these points.
"""

from __future__ import annotations

import hashlib
import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.face import eye_line_angle
from ecdd.training.forgeries.face_shape import Matrix, warp
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused

WEIGHTS: Final = Path(__file__).with_name("weights") / "face_mesh.tflite"
WEIGHTS_SHA256: Final = "c6db0f13365dfbf533bf3e535e9a6f92de6bf1fd8100b91c86d7139140e208cf"
INPUT_SIDE: Final = 192
POINTS: Final = 468
CHEEKS: Final = (234, 454)  # points at the two ears: left and right in the picture
# the inner edge of the lips, round from the left corner by the upper lip to the right corner and back
INNER_LIPS: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
MARGIN: Final = 1.5  # side of the square that the network reads / longer side of the face
LEAST_PRESENCE: Final = 0.5

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mesh:
    """The surface of one face.

    Attributes
    ----------
    points : ndarray of float64, (468, 2)
        x, y in picture pixels; a point's index means the same place on every face.
    yaw : float
        Turn of the head about its vertical axis, radians; 0 looks into the camera.
    presence : float
        The network's confidence that there is a face, 0 … 1.
    """

    points: Array
    yaw: float
    presence: float


class FaceMesh:
    """The network. One instance may be shared by threads (calls are serialised).

    Parameters
    ----------
    weights : Path
        The packaged file.

    Raises
    ------
    ValueError
        The file is not the packaged one.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        from ai_edge_litert.interpreter import Interpreter

        content = weights.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != WEIGHTS_SHA256:
            raise ValueError(f"{weights.name}: SHA-256 is {found}, expected {WEIGHTS_SHA256}; restore the file")
        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        outputs = {int(np.prod(o["shape"])): int(o["index"]) for o in self._interpreter.get_output_details()}
        self._points, self._presence = outputs[3 * POINTS], outputs[1]
        self._lock = threading.Lock()

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
        mesh = self._read(source, ((x0 + x1) / 2, (y0 + y1) / 2), source.face.side, eye_line_angle(source.face))
        low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
        left, right = mesh.points[CHEEKS[0]], mesh.points[CHEEKS[1]]
        angle = math.atan2(right[1] - left[1], right[0] - left[0])
        middle = (low + high) / 2
        # a turned face has its ears near each other: their line says little, the eyes' line more
        if abs(mesh.yaw) > math.radians(40):
            angle = eye_line_angle(source.face)
        return self._read(source, (float(middle[0]), float(middle[1])), float((high - low).max()), angle)

    def _read(self, source: FacePicture, centre: tuple[float, float], side: float, angle: float) -> Mesh:
        """Cut the turned square about a face, run the network and take its points back to the picture."""
        scale = MARGIN * side / INPUT_SIDE
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        half = INPUT_SIDE / 2
        matrix = np.array([[cos, -sin, centre[0] - half * (cos - sin)], [sin, cos, centre[1] - half * (sin + cos)]])
        square = _read_square(source, matrix, scale)
        with self._lock:
            self._interpreter.set_tensor(self._input, (square.astype(np.float32) / np.float32(255))[None])
            self._interpreter.invoke()
            raw = self._interpreter.get_tensor(self._points).reshape(POINTS, 3).astype(np.float64)
            logit = float(self._interpreter.get_tensor(self._presence).ravel()[0])
        presence = 1 / (1 + math.exp(-max(min(logit, 60.0), -60.0)))
        if presence < LEAST_PRESENCE:
            raise ForgeryRefused("no face for the mesh", f"presence {presence:.3f}, at least {LEAST_PRESENCE}")
        left, right = raw[CHEEKS[0]], raw[CHEEKS[1]]
        points = raw[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return Mesh(points, math.atan2(right[2] - left[2], right[0] - left[0]), presence)


def _read_square(source: FacePicture, matrix: Matrix, scale: float) -> NDArray[np.uint8]:
    """The square (192, 192, 3) that ``matrix`` (square to picture pixels) names; black beyond the picture's edge."""
    corners = np.array([(0, 0), (INPUT_SIDE, 0), (0, INPUT_SIDE), (INPUT_SIDE, INPUT_SIDE)]) @ matrix[:, :2].T
    corners += matrix[:, 2]
    (x0, y0), (x1, y1) = np.floor(corners.min(axis=0)) - 2, np.ceil(corners.max(axis=0)) + 2
    factor = max(int(scale), 1)  # whole blocks are averaged first, so that nothing aliases
    part = Image.fromarray(source.picture).crop((int(x0), int(y0), int(x1), int(y1))).reduce(factor)
    inner = matrix.copy()
    inner[:, 2] -= (x0, y0)
    return np.asarray(warp(part, inner / factor, (INPUT_SIDE, INPUT_SIDE)))


@lru_cache(maxsize=1)
def load_face_mesh() -> FaceMesh:
    """The packaged network, opened once a process."""
    return FaceMesh()
