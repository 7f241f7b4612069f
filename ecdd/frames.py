"""Frames of a video, one verdict each, and a summary of a track. Experimental: no gate tests it, no release claims it.

A video's codec has removed or made traces that the detector was not trained on, and neighbouring frames are no
independent pictures. Needs the extra ``video``.

Examples
--------
>>> from ecdd import Detector
>>> from ecdd.frames import read_frames, summarise
>>> def judge(path: str, every: int = 10) -> str:
...     detector = Detector.load()
...     verdicts = [detector.predict(frame.pixels, name=frame.name) for frame in read_frames(path, every=every)]
...     return str(summarise(verdicts))
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ecdd.calibration.binomial_bounds import Rate, rate
from ecdd.errors import EcddError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.verdict import Verdict

Matrix = Literal["bt709", "bt601"]
Range = Literal["limited", "full"]

# Numbers of ISO/IEC 23091-2 (H.273) that a stream states for its matrix; 2 is "unspecified"
_MATRICES: Final[dict[int, Matrix]] = {1: "bt709", 5: "bt601", 6: "bt601"}
_UNSPECIFIED: Final = frozenset({0, 2})
_RANGES: Final[dict[int, Range]] = {1: "limited", 2: "full"}
_SWSCALE: Final = {"bt709": "ITU709", "bt601": "ITU601", "limited": "MPEG", "full": "JPEG"}
# What players assume where a stream states no matrix: standard definition is BT.601, all above BT.709.
_LINES_OF_SD: Final = 576
_CONFIDENCE: Final = 0.95


class VideoError(EcddError):
    """A file that is no video, or one whose colours cannot be turned into the detector's."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as the detector takes it.

    Attributes
    ----------
    name : str
        File and number, for the verdict.
    index : int
        From 0, of all frames of the stream.
    seconds : float or None
        From the start; None where the stream does not say.
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB, full range, upright.
    matrix : {"bt709", "bt601"}
        By which the stream's luma and chroma became RGB.
    range : {"limited", "full"}
        What its levels span: 16 to 235, or 0 to 255.
    stated : bool
        Whether the stream says both; else they are assumed as players do.
    """

    name: str
    index: int
    seconds: float | None
    pixels: NDArray[np.uint8]
    matrix: Matrix
    range: Range
    stated: bool


@dataclass(frozen=True)
class Track:
    """Summary of the verdicts on a track.

    Attributes
    ----------
    frames : int
        How many were given.
    judged : int
        Of these with a probability.
    labels : dict of str to int
        Frames by label.
    at_or_above : Rate
        Judged frames at or above t_fake, with the exact 95 % interval *as if frames were independent*. They are not:
        the true one is wider.
    """

    frames: int
    judged: int
    labels: dict[str, int]
    at_or_above: Rate

    def __str__(self) -> str:
        """One sentence."""
        share = self.at_or_above
        if not self.judged:
            return f"{self.frames} frames, none judged"
        return (
            f"{self.frames} frames, {self.judged} judged, {share.events} at or above t_fake "
            f"({share.events / self.judged:.0%}; {share.low:.0%} to {share.high:.0%} if frames were independent)"
        )


def read_frames(
    path: str | os.PathLike[str], *, every: int = 1, matrix: Matrix | None = None, levels: Range | None = None
) -> Iterator[Frame]:
    """Decode the first video stream of a file.

    Parameters
    ----------
    path : path-like
        The file; nothing is fetched from a network.
    every : int
        Every so many frames only, the first one included.
    matrix, levels : str, optional
        In place of what the stream states, or of what is assumed: BT.601 up to 576 lines and BT.709 above, limited.

    Yields
    ------
    Frame
        In the order in which they are shown.

    Raises
    ------
    VideoError
        No such file, no video in it, a damaged stream, or a matrix that is neither BT.709 nor BT.601 (such as HDR's).
    ValueError
        ``every`` is below 1.
    ModuleNotFoundError
        PyAV is missing: it comes with the extra ``video``.
    """
    if every < 1:
        raise ValueError(f"every is {every}; 1 or more is needed")
    place = Path(path)
    if not place.is_file():
        raise VideoError(f"{place}: no such file")
    return _decoded(place, every, matrix, levels)


def _decoded(place: Path, every: int, matrix: Matrix | None, levels: Range | None) -> Iterator[Frame]:
    import av

    try:
        with place.open("rb") as handle, av.open(handle, "r") as container:
            if not container.streams.video:
                raise VideoError(f"{place}: no video in it")
            for index, decoded in enumerate(container.decode(video=0)):
                if index % every == 0:
                    yield _frame(decoded, f"{place.name} frame {index}", index, matrix, levels)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{place}: not a video that can be decoded: {error}") from None


def _frame(decoded: Any, name: str, index: int, matrix: Matrix | None, levels: Range | None) -> Frame:  # noqa: ANN401
    stated = int(decoded.colorspace)
    if matrix is None and stated not in _MATRICES and stated not in _UNSPECIFIED:
        raise VideoError(f"{name}: matrix {stated} of H.273 is neither BT.709 nor BT.601; convert the video first")
    assumed: Matrix = "bt601" if decoded.height <= _LINES_OF_SD else "bt709"
    chosen = matrix or _MATRICES.get(stated, assumed)
    spans = levels or _RANGES.get(int(decoded.color_range), "limited")
    rgb = decoded.reformat(
        format="rgb24",
        src_colorspace=_SWSCALE[chosen],
        dst_colorspace=_SWSCALE[chosen],
        src_color_range=_SWSCALE[spans],
        dst_color_range="JPEG",
    ).to_ndarray()
    turns = round(getattr(decoded, "rotation", 0) / 90) % 4
    pixels = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
    both = stated in _MATRICES and int(decoded.color_range) in _RANGES
    return Frame(name, index, decoded.time, pixels, chosen, spans, both)


def summarise(verdicts: Iterable[Verdict]) -> Track:
    """Summarise the verdicts on the frames of one track.

    Parameters
    ----------
    verdicts : iterable of Verdict
        Of one detector.

    Returns
    -------
    Track
        Counts and share; no label: nobody has measured at which share a video is fake.
    """
    labels: dict[str, int] = {}
    frames = judged = above = 0
    for verdict in verdicts:
        frames += 1
        labels[verdict.label] = labels.get(verdict.label, 0) + 1
        if verdict.probability is not None:
            judged += 1
            above += verdict.probability >= verdict.thresholds["t_fake"]
    return Track(frames, judged, labels, rate(above, judged, _CONFIDENCE))
