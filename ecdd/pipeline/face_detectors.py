"""The face detectors that a contract may name; a library is imported when its detector is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from ecdd.contract.pixel_sections import FaceDetector
    from ecdd.pipeline.face import FaceBackend


def _blazeface(policy: FaceDetector, threads: int, weights: Path | None) -> FaceBackend:
    from ecdd.pipeline.blazeface import BlazeFace

    first = BlazeFace(policy, threads=threads, weights=weights)
    if policy.second_look == "off":
        return first
    from ecdd.pipeline.second_look import SecondLook

    return SecondLook(first, policy)


def _dlib_hog(policy: FaceDetector, threads: int, weights: Path | None) -> FaceBackend:  # noqa: ARG001 - dlib has neither
    from ecdd.pipeline.dlib_hog import DlibHog

    return DlibHog(policy)


# by the contract's face_detector.name
FACE_DETECTORS: Final[Mapping[str, Callable[[FaceDetector, int, Path | None], FaceBackend]]] = {
    "blazeface_full_range": _blazeface,
    "dlib_hog": _dlib_hog,
}


def load_detector(policy: FaceDetector, threads: int = 1, weights: Path | None = None) -> FaceBackend:
    """Load the detector that the contract names, and prove that it is that one.

    Parameters
    ----------
    policy : FaceDetector
        The contract's section.
    threads : int
        Threads of the runtime; scores do not depend on it.
    weights : Path, optional
        Another weight file than the packaged one (its hash must still be the contract's).

    Raises
    ------
    DetectorError
        Unknown name, wrong version, wrong weight hash, missing extra, or a file that is not this network.
    """
    return FACE_DETECTORS[policy.name](policy, threads, weights)
