# ruff: noqa: ANN401 - dlib has no type information
"""dlib's HOG face detector, an optional backend and cross-check (extra ``dlib``).

It never needs a model file: the detector is compiled into dlib and serialised here only to be hashed. It finds
frontal faces of about 80 pixels and more *at the detection size*, so a contract that names it wants a larger
``detection_size`` than BlazeFace's. Where the package ``face-recognition-models`` is installed its 5-point model
gives landmarks. That package is located, never imported: its import needs ``pkg_resources``, and
``import face_recognition`` calls ``quit()`` where that is missing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ecdd.pipeline.face import DetectorError, DetectorIdentity, Face, Point, sort_faces, verify_weights

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import FaceDetector

INSTALL = (
    'pip install dlib-bin "setuptools<82"; for landmarks also: '
    "pip install --no-deps face-recognition face-recognition-models"
)
LANDMARK_MODEL = Path("models") / "shape_predictor_5_face_landmarks.dat"


def import_dlib() -> Any:
    """Import dlib.

    Raises
    ------
    DetectorError
        When it is missing or cannot be loaded; names what to install.
    """
    try:
        import dlib
    except (Exception, SystemExit) as error:
        raise DetectorError(
            f"face_detector.name is 'dlib_hog', but dlib cannot be imported ({error}); {INSTALL}"
        ) from error
    return dlib


def landmark_model() -> Path | None:
    """Find the 5-point model of ``face-recognition-models`` without importing that package."""
    try:
        spec = importlib.util.find_spec("face_recognition_models")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / LANDMARK_MODEL
        if path.is_file():
            return path
    return None


def hog_digest() -> tuple[str, str]:
    """Version and SHA-256 of the installed HOG detector: what a contract naming ``dlib_hog`` has to hold."""
    dlib = import_dlib()
    version = _version(dlib)
    return version, hashlib.sha256(_serialised(dlib.get_frontal_face_detector())).hexdigest()


def margin_of(score: float) -> float:
    """Margin of the support vector machine whose sigmoid is ``score``."""
    clipped = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


class DlibHog:
    """HOG detector behind the one interface. The score is the sigmoid of dlib's margin: 0.5 is dlib's default.

    Parameters
    ----------
    policy : FaceDetector
        ``version`` and ``weights_sha256`` must be those of :func:`hog_digest`.

    Raises
    ------
    DetectorError
        dlib is missing, or is not the one that the contract names.
    """

    def __init__(self, policy: FaceDetector) -> None:
        dlib = import_dlib()
        self._detector = dlib.get_frontal_face_detector()
        self._policy = policy
        self._lock = threading.Lock()
        version = _version(dlib)
        digest = verify_weights(_serialised(self._detector), version, policy, "dlib's HOG detector")
        self._identity = DetectorIdentity(policy.name, version, digest, policy.score_threshold, policy.detection_size)
        model = landmark_model()
        self._predictor = dlib.shape_predictor(str(model)) if model else None

    def identity(self) -> DetectorIdentity:
        """Name, version, hash and settings of this detector."""
        return self._identity

    def detect(self, image: Image.Image) -> list[Face]:
        """Find faces in an upright RGB picture; see :class:`ecdd.pipeline.face.FaceBackend`."""
        small = _shrink(image, self._policy.detection_size, self._policy.detection_downscale)
        scale_x, scale_y = image.width / small.width, image.height / small.height
        pixels = np.array(small)
        faces = []
        with self._lock:
            boxes, margins, _ = self._detector.run(pixels, 0, margin_of(self._policy.candidate_threshold))
            for box, margin in zip(boxes, margins, strict=True):
                corners = (
                    box.left() * scale_x,
                    box.top() * scale_y,
                    (box.right() + 1) * scale_x,
                    (box.bottom() + 1) * scale_y,
                )
                faces.append(Face(corners, _sigmoid(margin), self._landmarks(pixels, box, scale_x, scale_y)))
        return sort_faces([face for face in faces if face.score >= self._policy.candidate_threshold])

    def _landmarks(self, pixels: Any, box: Any, scale_x: float, scale_y: float) -> tuple[Point, ...]:
        """Eye on the left, eye on the right (means of two corners each) and nose; empty without the model."""
        if self._predictor is None:
            return ()
        shape = self._predictor(pixels, box)
        points = [(shape.part(k).x * scale_x, shape.part(k).y * scale_y) for k in range(shape.num_parts)]
        eyes = sorted(((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in (points[0:2], points[2:4]))
        return (*eyes, points[4])


def _sigmoid(margin: float) -> float:
    return 1 / (1 + math.exp(-min(max(margin, -100.0), 100.0)))


def _version(dlib: Any) -> str:
    return f"dlib {dlib.__version__}"


def _serialised(detector: Any) -> bytes:
    """Bytes of the detector as dlib itself saves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hog.svm"
        detector.save(str(path))
        return path.read_bytes()


def _shrink(image: Image.Image, side: int, downscale: str) -> Image.Image:
    """Bring the longer side to ``side`` when the picture is larger; the aspect ratio stays within a pixel."""
    longer = max(image.size)
    if longer <= side:
        return image
    width, height = (max((2 * length * side + longer) // (2 * longer), 1) for length in image.size)
    factor = longer // side if downscale == "reduce_then_bilinear" else 1
    if factor < 2:
        return image.resize((width, height), Image.Resampling.BILINEAR)
    fx, fy = min(factor, image.width), min(factor, image.height)
    box = (0.0, 0.0, image.width / fx, image.height / fy)
    return image.reduce((fx, fy)).resize((width, height), Image.Resampling.BILINEAR, box=box)
