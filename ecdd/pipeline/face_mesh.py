"""MediaPipe's face mesh through LiteRT: 468 points of a face's surface, and whether there is a face at all.

Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019, and the
model card "MediaPipe Face Mesh". The network reads a 192x192 RGB square in 0 … 1, turned to the eye line, whose side is
1.5 x the face's. The second look asks it to confirm a face; training draws forgeries on its points.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.face import DetectorError, verify_sha256

WEIGHTS: Final = Path(__file__).with_name("weights") / "face_mesh.tflite"
WEIGHTS_SHA256: Final = "c6db0f13365dfbf533bf3e535e9a6f92de6bf1fd8100b91c86d7139140e208cf"
INPUT_SIDE: Final = 192
POINTS: Final = 468
CHEEKS: Final = (234, 454)  # points at the two ears: left and right in the picture
MARGIN: Final = 1.5  # side of the square that the network reads / longer side of the face

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
    logit : float
        The network's confidence that there is a face, -60 … 60.
    """

    points: Array
    yaw: float
    logit: float

    @property
    def presence(self) -> float:
        """Confidence that there is a face as a probability; beyond 0.9999 the logit tells more."""
        return 1 / (1 + math.exp(-self.logit))


class FaceMesh:
    """The network, opened when it is first asked. One instance may be shared by threads (calls are serialised).

    Parameters
    ----------
    sha256 : str
        What the file's SHA-256 must be.
    weights : Path
        The packaged file.

    Raises
    ------
    DetectorError
        The file cannot be read or is another one.
    """

    def __init__(self, sha256: str = WEIGHTS_SHA256, weights: Path = WEIGHTS) -> None:
        try:
            content = weights.read_bytes()
        except OSError as error:
            raise DetectorError(f"{weights.name}: the face mesh cannot be read ({error.strerror})") from error
        verify_sha256(content, sha256, "face_detector.second_look_sha256", weights.name)
        self._weights = weights.name
        self._content: bytes | None = content
        self._interpreter: Any = None
        self._input = self._points = self._presence = 0
        self._lock = threading.Lock()

    def read(self, image: Image.Image, centre: tuple[float, float], side: float, angle: float) -> Mesh:
        """Find the surface of a face.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright RGB picture; beyond its edge the network sees black.
        centre : tuple of float
            Middle of the face, picture pixels.
        side : float
            Longer side of the face, picture pixels.
        angle : float
            Of the eye line against the horizontal, radians.
        """
        scale = MARGIN * side / INPUT_SIDE
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        half = INPUT_SIDE / 2
        matrix = np.array([[cos, -sin, centre[0] - half * (cos - sin)], [sin, cos, centre[1] - half * (sin + cos)]])
        square = _read_square(image, matrix, scale)
        with self._lock:
            self._open()
            self._interpreter.set_tensor(self._input, (square.astype(np.float32) / np.float32(255))[None])
            self._interpreter.invoke()
            raw = self._interpreter.get_tensor(self._points).reshape(POINTS, 3).astype(np.float64)
            logit = float(self._interpreter.get_tensor(self._presence).ravel()[0])
        left, right = raw[CHEEKS[0]], raw[CHEEKS[1]]
        yaw = math.atan2(right[2] - left[2], right[0] - left[0])
        return Mesh(raw[:, :2] @ matrix[:, :2].T + matrix[:, 2], yaw, max(min(logit, 60.0), -60.0))

    def _open(self) -> None:
        """Open the network the first time; most pictures never need it."""
        if self._interpreter is not None:
            return
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content, num_threads=1)
        interpreter.allocate_tensors()
        outputs = {int(np.prod(o["shape"])): int(o["index"]) for o in interpreter.get_output_details()}
        if not {3 * POINTS, 1} <= outputs.keys():
            raise DetectorError(f"{self._weights}: not the face mesh: outputs of {sorted(outputs)} numbers")
        self._input = int(interpreter.get_input_details()[0]["index"])
        self._points, self._presence = outputs[3 * POINTS], outputs[1]
        self._interpreter, self._content = interpreter, None


def _read_square(image: Image.Image, matrix: Array, scale: float) -> NDArray[np.uint8]:
    """The square (192, 192, 3) that ``matrix`` (square to picture pixels) names; black beyond the picture's edge."""
    corners = np.array([(0, 0), (INPUT_SIDE, 0), (0, INPUT_SIDE), (INPUT_SIDE, INPUT_SIDE)]) @ matrix[:, :2].T
    corners += matrix[:, 2]
    (x0, y0), (x1, y1) = np.floor(corners.min(axis=0)) - 2, np.ceil(corners.max(axis=0)) + 2
    factor = max(int(scale), 1)  # whole blocks are averaged first, so that nothing aliases
    part = image.crop((int(x0), int(y0), int(x1), int(y1))).reduce(factor)
    inner = matrix.copy()
    inner[:, 2] -= (x0, y0)
    into = tuple((inner / factor).ravel())
    turned = part.transform((INPUT_SIDE, INPUT_SIDE), Image.Transform.AFFINE, into, Image.Resampling.BICUBIC)
    return np.asarray(turned)
