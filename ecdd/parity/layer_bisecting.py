"""Differences layer by layer, and the first layer that exceeds its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecdd.evidence.verdicts import finite
from ecdd.parity.layer_outputs import GraphStep, WatchedGraph, convolution_layers
from ecdd.parity.parity_metric import ParityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOVING = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
Values = Mapping[str, "NDArray[np.float32]"]


@dataclass(frozen=True)
class LayerDifference:
    """One layer of the reference against its partner.

    Attributes
    ----------
    name, partner : str
        Tensors of reference and candidate.
    operator : str
        Of the reference.
    matched : {"name", "order and shape"}
        How the partner was found.
    shape : tuple of int
        Of one picture, channels last.
    max_difference : float
        Largest |candidate - reference| over the pictures.
    spread : float
        Mean over the pictures of the standard deviation of the reference's values.
    relative : float
        ``max_difference / spread``.
    rms : float
        Root mean square difference / spread: what the difference is like in general.
    factors : tuple of float, or None
        Smallest and largest factor of a channel, where the candidate's values are the reference's times a factor for
        each channel, to within the budget: converters move such a factor into the next layer. None where they are not.
    budget : float
        Limit of `relative`.
    """

    name: str
    partner: str
    operator: str
    matched: Literal["name", "order and shape"]
    shape: tuple[int, ...]
    max_difference: float
    spread: float
    relative: float
    rms: float
    factors: tuple[float, float] | None
    budget: float

    @property
    def exceeds(self) -> bool:
        """Whether the budget is exceeded by more than a factor; a difference that is no number exceeds it.

        A factor that was lost, and not moved, makes the next layer exceed its budget.
        """
        return not self.relative <= self.budget and self.factors is None

    def stored(self) -> dict[str, Any]:
        """Everything as JSON values; what is not finite becomes None."""
        numbers = {key: finite(getattr(self, key)) for key in ("max_difference", "spread", "relative", "rms")}
        return {**asdict(self), **numbers, "exceeds": self.exceeds}


@dataclass(frozen=True)
class LayerComparison:
    """All layers of a pair.

    Attributes
    ----------
    layers : tuple of LayerDifference
        In the reference's order of execution.
    unmatched : tuple of (tuple of str, tuple of str)
        Convolutions of reference and candidate without a partner; nothing is known of them.
    changed : tuple of (float, float)
        How far watching moved the maps of reference and candidate, logit.
    """

    layers: tuple[LayerDifference, ...]
    unmatched: tuple[tuple[str, ...], tuple[str, ...]]
    changed: tuple[float, float]

    @property
    def first_exceeding(self) -> LayerDifference | None:
        """The first layer above its budget; those after it inherit its difference."""
        return first_exceeding(self.layers)


def first_exceeding(layers: Sequence[LayerDifference]) -> LayerDifference | None:
    """Find the first layer whose difference exceeds its budget.

    Every layer was measured in one run, so that each is looked at: halving would need differences that only grow, and
    a clipping layer can hide what went wrong before it.

    Parameters
    ----------
    layers : sequence of LayerDifference
        In the order of execution.

    Returns
    -------
    LayerDifference or None
        None where all keep their budgets.
    """
    return next((layer for layer in layers if layer.exceeds), None)


def compare_layers(
    reference: WatchedGraph,
    candidate: WatchedGraph,
    tensors: Sequence[NDArray[np.float32]],
    budget: float,
    budgets: Mapping[str, float] | None = None,
) -> LayerComparison:
    """Run pictures through both files and compare what their layers compute.

    Parameters
    ----------
    reference, candidate : WatchedGraph
        From `layer_outputs.watch`. Files of one converter are matched tensor by tensor, by name; where less than half
        of the convolutions have a partner of their name and shape, convolutions are matched by order and shape.
    tensors : sequence of ndarray, float32, shape (H, W, 3)
        S4; a few will do.
    budget : float
        Largest allowed |difference| of a layer / its spread.
    budgets : mapping of str to float, optional
        Other budgets, by the reference's tensor names.

    Returns
    -------
    LayerComparison
        Differences add up over the layers: each file runs on its own outputs.

    Raises
    ------
    ParityError
        Without pictures, for a budget of a layer that is not there, or where no layer has a partner.
    """
    if not len(tensors):
        raise ParityError("layers: no picture to compare them on")
    runs = [(reference.run(one), candidate.run(one)) for one in tensors[:1]]
    pairs, matched, unmatched = _partners(reference, candidate, *runs[0])
    if not pairs:
        raise ParityError("layers: no layer of the reference has a partner in the candidate, by name or by shape")
    names = [pair[0].output for pair in pairs]
    if unknown := sorted(set(budgets or {}) - set(names)):
        raise ParityError(f"layers: a budget for {unknown[0]}, which is not among {', '.join(names)}")
    sums = [_Sums() for _ in pairs]
    for index, tensor in enumerate(tensors):
        mine, theirs = runs[0] if index == 0 else (reference.run(tensor), candidate.run(tensor))
        for total, (step, partner) in zip(sums, pairs, strict=True):
            total.add(mine[step.output].astype(np.float64), theirs[partner.output].astype(np.float64))
    layers = tuple(
        total.difference(step, partner, matched, (budgets or {}).get(step.output, budget))
        for total, (step, partner) in zip(sums, pairs, strict=True)
    )
    return LayerComparison(layers, unmatched, (reference.changed, candidate.changed))


class _Sums:
    """What is summed up of one layer over the pictures."""

    def __init__(self) -> None:
        self.n, self.largest, self.spread, self.square, self.beside = 0, 0.0, 0.0, 0.0, 0.0
        self.shape: tuple[int, ...] = ()
        self.factors: NDArray[np.float64] = np.empty(0)

    def add(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        apart = other - one
        if not self.n:
            self.shape = one.shape
            self.factors = _channel_factors(one, other)
        self.n += 1
        # numpy's maximum keeps NaN: a value that is no number must not vanish
        self.largest = float(np.maximum(self.largest, np.abs(apart).max()))
        self.beside = float(np.maximum(self.beside, np.abs(other - one * np.nan_to_num(self.factors)).max()))
        self.spread += float(one.std())
        self.square += float((apart**2).mean())

    def difference(
        self, step: GraphStep, partner: GraphStep, matched: Literal["name", "order and shape"], budget: float
    ) -> LayerDifference:
        spread, rms = self.spread / self.n, float(np.sqrt(self.square / self.n))
        relative, typical = (_relative(value, spread) for value in (self.largest, rms))
        known = self.factors[~np.isnan(self.factors)]
        ends = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        # what is left beside the factor is judged in the candidate's unit
        moved = not relative <= budget and ends[0] > 0 and self.beside <= budget * spread * ends[0]
        return LayerDifference(
            step.output, partner.output, step.operator, matched, self.shape, self.largest, spread, relative, typical,
            ends if moved else None, budget,
        )  # fmt: skip


def _channel_factors(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The factor of each channel that brings the reference nearest to the candidate, by least squares; NaN of zeros."""
    axes = tuple(range(one.ndim - 1))
    products, squares = (one * other).sum(axis=axes), (one * one).sum(axis=axes)
    return np.asarray(np.divide(products, squares, out=np.full_like(squares, np.nan), where=squares > 0))


def _relative(value: float, spread: float) -> float:
    if spread > 0:
        return value / spread
    return 0.0 if value == 0 else float("inf")


_Pairs = list[tuple[GraphStep, GraphStep]]
_Unmatched = tuple[tuple[str, ...], tuple[str, ...]]


def _partners(
    reference: WatchedGraph, candidate: WatchedGraph, mine: Values, theirs: Values
) -> tuple[_Pairs, Literal["name", "order and shape"], _Unmatched]:
    """Pairs in the reference's order, how they were found, and the convolutions that have no partner."""
    one, other = (
        [step for step in convolution_layers(graph.steps) if step.output in values]
        for graph, values in ((reference, mine), (candidate, theirs))
    )
    by_name = {step.output: step for step in candidate.steps}
    pairs: _Pairs = [
        (step, by_name[step.output])
        for step in reference.steps
        if step.operator not in _MOVING
        and step.output in by_name
        and step.output in mine
        and _same_shape(step.output, step.output, mine, theirs)
    ]
    named = {step.output for step, _ in pairs}
    if one and 2 * sum(step.output in named for step in one) >= len(one):
        return pairs, "name", (_without(one, named), _without(other, named))
    shapes = [[values[step.output].shape for step in steps] for steps, values in ((one, mine), (other, theirs))]
    pairs = []
    for block in SequenceMatcher(None, shapes[0], shapes[1], autojunk=False).get_matching_blocks():
        pairs += zip(one[block.a : block.a + block.size], other[block.b : block.b + block.size], strict=True)
    found = {step.output for step, _ in pairs}, {step.output for _, step in pairs}
    return pairs, "order and shape", (_without(one, found[0]), _without(other, found[1]))


def _same_shape(one: str, other: str, mine: Values, theirs: Values) -> bool:
    """One number a picture has no spread of its own: it is compared as the pooled logit."""
    return other in theirs and mine[one].shape == theirs[other].shape and mine[one].size > 1


def _without(steps: Sequence[GraphStep], names: set[str]) -> tuple[str, ...]:
    return tuple(step.output for step in steps if step.output not in names)
