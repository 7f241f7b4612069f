"""Patch-level truth: which cells of the patch grid see forged pixels, and how many.

The mask of a forgery goes through the very crop and resize that its picture goes through (S2, S3), so that cell
(i, j) of the patch-logit map and share (i, j) speak of the same pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.stages import cut_face

if TYPE_CHECKING:
    from ecdd.contract.model_sections import PatchGrid
    from ecdd.contract.schema import PolicyContract
    from ecdd.pipeline.stages import PreparedFace
    from ecdd.training.forgeries.forgery import Mask

CLEAN: Final = 0
FORGED: Final = 1
UNDECIDED: Final = -1


def mask_in_s3(mask: Mask, face: PreparedFace, policy: PolicyContract) -> Mask:
    """Take a mask through the crop and the resize of a face.

    Parameters
    ----------
    mask : ndarray of float32, (H, W)
        Of the forged picture, 0 … 1, in upright picture pixels.
    face : PreparedFace
        The face as the pipeline cut it out of that picture.
    policy : PolicyContract
        Crop and resize.

    Returns
    -------
    ndarray of float32, (S, S)
        0 … 1 in S3 pixels: the generator's share of each, through the resize kernel's own weights.
    """
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32))
    crop = cut_face(image, face.face, face.crop_box, policy.face_detector)
    pixels = policy.pixel_pipeline
    size = (pixels.input_size, pixels.input_size)
    kernel = Image.Resampling[pixels.resize_kernel.upper()]
    resized = crop if crop.size == size else crop.resize(size, kernel, reducing_gap=None)
    # kernels with negative lobes overshoot at the mask's edge
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def cell_shares(mask: Mask, grid: PatchGrid) -> NDArray[np.float32]:
    """Mean of a mask over the receptive field of every cell.

    Parameters
    ----------
    mask : ndarray of float32, (S, S)
        From `mask_in_s3`.
    grid : PatchGrid
        Geometry; where it is padded, pixels beyond the edge count as not forged.

    Returns
    -------
    ndarray of float32, (rows, cols)
        0 … 1; exactly 0 where the cell sees no forged pixel.

    Raises
    ------
    ValueError
        The grid's last cell would see pixels beyond the mask and its padding.
    """
    field, pad = grid.box
    wide = np.pad(mask.astype(np.float64), pad)
    need = (grid.stride * (grid.rows - 1) + field, grid.stride * (grid.cols - 1) + field)
    if need[0] > wide.shape[0] or need[1] > wide.shape[1]:
        raise ValueError(f"patch_grid: its cells need a mask of {need} pixels, got {mask.shape} and padding {pad}")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (field, field))
    picked = windows[:: grid.stride, :: grid.stride][: grid.rows, : grid.cols]
    shares: NDArray[np.float32] = picked.mean(axis=(2, 3)).astype(np.float32)
    return shares


def cell_labels(shares: NDArray[np.float32], *, forged_from: float = 0.5) -> NDArray[np.int8]:
    """Turn shares into truth for a loss or an AUC: a cell that sees a little of both is undecided.

    Parameters
    ----------
    shares : ndarray of float32
        From `cell_shares`.
    forged_from : float
        Smallest share that counts as forged, 0 < value <= 1.

    Returns
    -------
    ndarray of int8
        1 forged, 0 clean (no forged pixel at all), -1 undecided.
    """
    labels = np.full(shares.shape, UNDECIDED, np.int8)
    labels[shares == 0] = CLEAN
    labels[shares >= forged_from] = FORGED
    return labels
