"""Representative pictures for ranges of activations: from the calibration split, through the canonical pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.schema import PolicyContract
from ecdd.export.folding import ExportError
from ecdd.pipeline.preprocess import check_tensor
from ecdd.pipeline.reason_codes import Rejected

# a range that one half of the set sees and the other does not by more than this factor hangs on single pictures
MOST_UNSTABLE = 1.5


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
    if problems:
        raise ExportError("representative data: " + "; ".join(problems))


def range_stability(first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]) -> float:
    """Largest factor between the widths of two halves' ranges; 1 where both saw the same."""
    widths = [(high_a - low_a, high_b - low_b) for (low_a, high_a), (low_b, high_b) in zip(first, second, strict=True)]
    factors = [max(a, b) / max(min(a, b), 1e-12) for a, b in widths if max(a, b) > 0]
    return max(factors, default=1.0)
