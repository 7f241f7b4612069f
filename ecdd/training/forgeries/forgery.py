"""What every generator reads and returns: a picture with a face, and the forged picture with the place of forging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.errors import EcddError
from ecdd.pipeline.face import Face

Picture = NDArray[np.uint8]
Mask = NDArray[np.float32]


class ForgeryRefused(EcddError):  # noqa: N818 - a refusal is an outcome that is counted, not a fault
    """A face that cannot be forged this way; the message says why.

    Parameters
    ----------
    reason : str
        Short, the same for all refusals of one kind: what is counted.
    detail : str
        Value and limit.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True, eq=False)
class FacePicture:
    """A picture and the face in it that is to be forged, or taken.

    Attributes
    ----------
    picture : ndarray of uint8, (H, W, 3)
        RGB, upright.
    face : Face
        In pixels of ``picture``, with at least four landmarks in BlazeFace's order.
    """

    picture: Picture
    face: Face

    def __post_init__(self) -> None:
        if self.picture.dtype != np.uint8 or self.picture.ndim != 3 or self.picture.shape[2] != 3:
            raise ValueError(f"picture: uint8 (H, W, 3) is expected, got {self.picture.dtype} {self.picture.shape}")
        if len(self.face.landmarks) < 4:
            raise ForgeryRefused(
                "too few landmarks", f"{len(self.face.landmarks)}, at least 4 are needed: use the detector BlazeFace"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.picture.shape[1], self.picture.shape[0]


@dataclass(frozen=True)
class Forgery:
    """One forged picture.

    Attributes
    ----------
    picture : ndarray of uint8, (H, W, 3)
        RGB, sRGB-encoded, 0 … 255.
    mask : ndarray of float32, (H, W)
        Share of each pixel that comes from the generator, 0 … 1.
    generator : str
        Name of the generator.
    parameters : dict
        What the seed led to, for manifests and records.
    """

    picture: Picture
    mask: Mask
    generator: str
    parameters: dict[str, float | int | str]

    def __post_init__(self) -> None:
        if self.picture.dtype != np.uint8 or self.picture.ndim != 3 or self.picture.shape[2] != 3:
            raise ValueError(f"picture: uint8 (H, W, 3) is expected, got {self.picture.dtype} {self.picture.shape}")
        if self.mask.dtype != np.float32 or self.mask.shape != self.picture.shape[:2]:
            raise ValueError(
                f"mask: float32 {self.picture.shape[:2]} is expected, got {self.mask.dtype} {self.mask.shape}"
            )


def blend(below: Picture, above: NDArray[np.floating], mask: Mask) -> Picture:
    """Mix two pictures pixel by pixel.

    Parameters
    ----------
    below : ndarray of uint8, (H, W, 3)
        Shown where the mask is 0.
    above : ndarray of float, (H, W, 3)
        In 0 … 255, shown where the mask is 1.
    mask : ndarray of float32, (H, W)
        Share of ``above``, 0 … 1.

    Returns
    -------
    ndarray of uint8, (H, W, 3)
        Rounded half to even, clipped to 0 … 255; pixels with mask 0 are those of ``below``, bit for bit.
    """
    share = mask[..., None].astype(np.float64)
    mixed = below * (1.0 - share) + above * share
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
