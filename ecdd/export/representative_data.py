"""Representative pictures for ranges of activations: from the calibration split, through the canonical pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.pixel_sections import PixelPipeline
from ecdd.contract.schema import PolicyContract
from ecdd.export.export_error import ExportError
from ecdd.pipeline.preprocess import check_tensor, normalise
from ecdd.pipeline.reason_codes import Rejected


@dataclass(frozen=True, eq=False)
class RepresentativeSet:
    """Tensors that ranges are measured on, and where they come from.

    Attributes
    ----------
    ids : tuple of str
        SHA-256 of the pictures, in the order of the tensors.
    tensors : ndarray, float32, shape (N, S, S, 3)
        S4.
    tensor_digest : str
        Digest of the contract sections that made them.
    """

    ids: tuple[str, ...]
    tensors: NDArray[np.float32]
    tensor_digest: str

    def manifest(self) -> dict[str, object]:
        """Ids, preprocessing, count and ranges, for the bundle."""
        return {
            "ids": list(self.ids),
            "tensor_digest": self.tensor_digest,
            "count": len(self.ids),
            "range": [float(self.tensors.min()), float(self.tensors.max())],
            "content_sha256": hashlib.sha256(np.ascontiguousarray(self.tensors, "<f4").tobytes()).hexdigest(),
        }


def check_representative(data: RepresentativeSet, policy: PolicyContract) -> None:
    """Refuse a set that measures other ranges than the product meets.

    Raises
    ------
    ExportError
        Fewer pictures than ``quantization.min_representative``, a picture twice, or tensors that no picture of this
        pipeline gives (another normalisation, noise, values that are not finite).
    """
    least = policy.quantization.min_representative
    problems = []
    if len(data.ids) != len(data.tensors):
        problems.append(f"{len(data.ids)} ids for {len(data.tensors)} tensors")
    if len(data.ids) < least:
        problems.append(f"{len(data.ids)} pictures; quantization.min_representative asks for {least}")
    if len(set(data.ids)) != len(data.ids):
        problems.append(f"{len(data.ids) - len(set(data.ids))} pictures stand twice")
    if len(data.tensors):
        try:
            check_tensor(data.tensors, policy.pixel_pipeline)
        except Rejected as rejected:
            problems.append(f"the tensors are not S4 of this contract: {rejected.detail}")
        else:
            off = _off_levels(data.tensors, policy.pixel_pipeline)
            if off > policy.pixel_pipeline.tolerance_s4:
                problems.append(f"a value lies {off:.3g} from what any level gives: no picture made these tensors")
    if problems:
        raise ExportError("representative data: " + "; ".join(problems))


def _off_levels(tensors: NDArray[np.float32], policy: PixelPipeline) -> float:
    """Largest distance of an S4 value from the nearest value that a level gives."""
    every = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    table = normalise(every, policy)[0].T  # (3, 256), rising
    worst = 0.0
    for colour in range(3):
        values, levels = np.unique(tensors[..., colour]), table[colour]
        above = np.clip(np.searchsorted(levels, values), 1, 255)
        nearest = np.minimum(np.abs(values - levels[above - 1]), np.abs(values - levels[above]))
        worst = max(worst, float(nearest.max()))
    return worst


def check_ranges(
    first: Mapping[str, tuple[float, float]], second: Mapping[str, tuple[float, float]], limit: float
) -> float:
    """Compare the ranges that two halves of a set give.

    Parameters
    ----------
    first, second : mapping of str to (low, high)
        Ranges by tensor.
    limit : float
        Contract: ``quantization.max_range_instability``.

    Returns
    -------
    float
        Largest factor between the widths of a tensor's two ranges; 1 where both halves saw the same.

    Raises
    ------
    ExportError
        If it is above the limit: then a range hangs on single pictures.
    """
    factors = {}
    for name in sorted(first):
        widths = [high - low for low, high in (first[name], second[name])]
        factors[name] = max(widths) / max(min(widths), 1e-12)
    worst = max(factors, key=lambda name: factors[name])
    if not factors[worst] <= limit:
        msg = (
            f"representative data: one half gives {worst} a range {factors[worst]:.2f} times as wide as the other "
            f"half, at most {limit:g} (quantization.max_range_instability); look for an odd picture, or add pictures"
        )
        raise ExportError(msg)
    return factors[worst]
