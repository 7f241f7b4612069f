"""S5 to S7 of a batch of faces, and the digests that name them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecdd.errors import EcddError
from ecdd.inference.calibration import probability
from ecdd.inference.pooling import pooled_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.model_sections import PatchGrid, Pooling
    from ecdd.inference.calibration import AppliedCalibration
    from ecdd.runtimes.base import ModelOutputs


class ModelOutputError(EcddError):
    """The model's output has the wrong shape or is not finite; nothing of it is used."""


@dataclass(frozen=True, eq=False)
class JudgedFace:
    """S5 to S7 of one face.

    Attributes
    ----------
    patch_map : ndarray, float32, shape (rows, cols)
        S5: logits, larger means more likely fake.
    pooled_logit : float
        S6.
    calibrated_logit : float
        S7.
    probability : float
        S7: P(fake) in [0, 1].
    """

    patch_map: NDArray[np.float32]
    pooled_logit: float
    calibrated_logit: float
    probability: float


def judge(
    found: ModelOutputs, faces: int, grid: PatchGrid, pooling: Pooling, calibration: AppliedCalibration
) -> list[JudgedFace]:
    """Pool and calibrate what a runtime gave for a batch.

    Parameters
    ----------
    found : ModelOutputs
        Maps, shape (faces, rows, cols), and, where the file's own output decides, its logits.
    faces : int
        How many faces were sent.
    grid : PatchGrid
        Expected shape.
    pooling : Pooling
        Rule.
    calibration : AppliedCalibration
        From pooled to calibrated logit.

    Returns
    -------
    list of JudgedFace
        One a face, in order.

    Raises
    ------
    ModelOutputError
        For another shape or dtype, or a value or a pooled sum that is not finite.
    """
    expected, maps = (faces, grid.rows, grid.cols), found.maps
    if maps.shape != expected or maps.dtype != np.float32:
        msg = f"the patch-logit map is {maps.dtype} {maps.shape}, the contract says float32 {expected}"
        raise ModelOutputError(msg)
    if not np.isfinite(maps).all():
        msg = "the patch-logit map holds a value that is not finite"
        raise ModelOutputError(msg)
    judged = []
    for patch_map, logit in zip(maps, pooled_logits(found, pooling), strict=True):
        pooled = float(logit)
        if not math.isfinite(pooled):
            msg = f"the patch-logit map reaches {np.abs(patch_map).max():.3g}: pooled in float32 it is {pooled}"
            raise ModelOutputError(msg)
        calibrated = calibration.logit(pooled)
        judged.append(JudgedFace(patch_map, pooled, calibrated, probability(calibrated)))
    return judged


def argmax_cell(patch_map: NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of the largest logit; the first in row-major order among equals."""
    row, col = np.unravel_index(int(np.argmax(patch_map)), patch_map.shape)
    return int(row), int(col)


def map_checksum(patch_map: NDArray[np.float32], step: float) -> str:
    """SHA-256 of the map rounded to a step; it never replaces the numeric comparison.

    Parameters
    ----------
    patch_map : ndarray, float32, shape (rows, cols)
        S5.
    step : float
        Rounding step, logit.

    Returns
    -------
    str
        ``sha256-int32-<rows>x<cols>-step<step>:<hex>``. Values beyond int32 count as its ends.
    """
    ends = np.iinfo(np.int32)
    rounded = np.rint(patch_map.astype(np.float64) / step).clip(ends.min, ends.max).astype("<i4")
    rows, cols = patch_map.shape
    return f"sha256-int32-{rows}x{cols}-step{step:g}:{hashlib.sha256(rounded.tobytes()).hexdigest()}"
