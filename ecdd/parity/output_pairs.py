"""Which outputs of two files stand for each other: every one that both have is compared, the others are named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecdd.parity.parity_metric import ParityLimits, ParityMetric, held, metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecdd.runtimes.base import PatchRuntime
    from ecdd.runtimes.model_interface import TensorFacts


@dataclass(frozen=True)
class OutputPairs:
    """Outputs beside map and logit.

    Attributes
    ----------
    pairs : tuple of (str, str)
        Names in reference and candidate.
    alone : tuple of str
        Outputs of one file without a partner in the other, with the file's side.
    """

    pairs: tuple[tuple[str, str], ...]
    alone: tuple[str, ...]


def pair_outputs(reference: PatchRuntime, candidate: PatchRuntime) -> OutputPairs:
    """Pair the outputs of two files.

    Parameters
    ----------
    reference, candidate : PatchRuntime
        Opened files.

    Returns
    -------
    OutputPairs
        Map and logit stand for each other by what they are for. The others are paired by name, and those left over
        by shape where no other one has it. A logit that one file alone gives is pooled from the other's map.
    """
    sides = reference, candidate
    maps = [side.chosen.patch_map for side in sides]
    left = [[one for one in side.every if one not in side.chosen] for side in sides]
    if None in maps:  # one file alone has a map: it is an output without a partner, unless another has its shape
        left = [rest + ([one] if one is not None else []) for rest, one in zip(left, maps, strict=True)]
    shared = {one.name for one in left[0]} & {one.name for one in left[1]}
    pairs = [(name, name) for name in sorted(shared)]
    rest = [[one for one in side if one.name not in shared] for side in left]
    shapes = [[_shape(one) for one in side] for side in rest]
    matched = {shape for shape in shapes[0] if shapes[0].count(shape) == shapes[1].count(shape) == 1}
    partner = dict(zip(shapes[1], rest[1], strict=True))
    pairs += [(one.name, partner[_shape(one)].name) for one in rest[0] if _shape(one) in matched]
    alone = [
        f"{one} of the {word}"
        for word, side, part in zip(("reference", "candidate"), sides, rest, strict=True)
        for one in part
        if _shape(one) not in matched and one.name not in side.interface.ignored_by_contract
    ]
    return OutputPairs(tuple(pairs), tuple(alone))


def output_metrics(
    pair: tuple[str, str],
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    limits: ParityLimits | None,
    names: Sequence[str],
    group: str,
) -> list[ParityMetric]:
    """Compare one more output, number by number.

    Parameters
    ----------
    pair : (str, str)
        Its names.
    reference, candidate : ndarray, float32, shape (N, …)
        The same numbers in any layout of single axes.
    limits : ParityLimits or None
        Held to what a cell of the map is held to.
    names : sequence of str
        Of the samples.
    group : str
        Tolerance class.

    Returns
    -------
    list of ParityMetric
        Largest and mean difference relative to the spread over all samples.
    """
    one, other = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (reference, candidate))
    if reference.ndim == candidate.ndim == 4 and reference.shape != candidate.shape:  # channels first and last
        other = np.moveaxis(candidate.astype(np.float64), -1, 1).reshape(len(candidate), -1)
        if reference.shape[1] != candidate.shape[-1]:
            other = np.moveaxis(candidate.astype(np.float64), 1, -1).reshape(len(candidate), -1)
    apart, spread = np.abs(one - other), float(one.std())
    far = apart.max(axis=1) if apart.size else np.zeros(0)
    worst = names[int(np.nan_to_num(far, nan=np.inf).argmax())] if far.size else ""
    relative = [np.inf if not spread and value else value / spread if spread else 0.0 for value in (
        float(far.max(initial=0.0)), float(apart.mean(axis=1).max(initial=0.0)))]  # fmt: skip
    first, n = f"{group}output {pair[0]}.", len(names)
    cell, mean = (None, None) if limits is None else (limits.cell, limits.mean)
    return [
        metric(f"{first}max_relative_difference", relative[0], "spread", n=n, worst=worst, **held(cell)),
        metric(f"{first}mean_relative_difference", relative[1], "spread", n=n, worst=worst, **held(mean)),
    ]


def _shape(tensor: TensorFacts) -> tuple[int, ...]:
    """Sides behind the batch, without single ones, in no order: channels may be first or last."""
    return tuple(sorted(side for side in tensor.shape[1:] if side != 1))
