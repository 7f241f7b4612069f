"""Parity of patch-logit maps (S5): how far two files are apart, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecdd.parity.parity_metric import Limit, ParityLimits, ParityMetric, check_pair, held, metric, spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PatchParity:
    """Differences of N maps of shape (rows, cols); every number is NaN where a logit is not finite or N is 0.

    Attributes
    ----------
    n, not_finite : int
        Maps, and maps of either side with a logit that is not finite.
    max_difference, mean_difference, bias : float
        Of |candidate - reference| over all cells, and the mean of candidate - reference; logit.
    spread : float
        Mean over the reference maps of the standard deviation over their cells, logit.
    relative : float
        ``max_difference / spread``; infinite where the reference maps are flat and the candidate's differ.
    relative_mean : float
        Largest mean |difference| of a map / ``spread``.
    argmax_stable : float
        Share of maps whose largest cell stays (the first in row-major order among equals).
    argmax_loss : float
        Largest fall of the reference logit from its largest cell to the candidate's, / spread: 0 where the largest
        cell stays, and small where two cells were as good as equal.
    cell_correlation : float
        Smallest Spearman correlation over the cells of a map.
    worst : int
        Map with the largest difference; -1 where N is 0.
    by_map : ndarray, float64, shape (N,)
        Max |difference| of each map.
    by_cell : ndarray, float64, shape (rows, cols)
        Max |difference| of each cell over the maps.
    bias_by_cell : ndarray, float64, shape (rows, cols)
        Mean of candidate - reference.
    """

    n: int
    not_finite: int
    max_difference: float
    mean_difference: float
    bias: float
    spread: float
    relative: float
    relative_mean: float
    argmax_stable: float
    argmax_loss: float
    cell_correlation: float
    worst: int
    by_map: NDArray[np.float64]
    by_cell: NDArray[np.float64]
    bias_by_cell: NDArray[np.float64]

    def metrics(self, limits: ParityLimits | None, names: Sequence[str] = (), group: str = "") -> list[ParityMetric]:
        """Hold the differences to their limits.

        Parameters
        ----------
        limits : ParityLimits or None
            None: everything is only reported.
        names : sequence of str
            Of the maps, to name the worst one.
        group : str
            Tolerance class, written before every name.

        Returns
        -------
        list of ParityMetric
            Largest and mean relative difference, loss of the largest cell and ranks are judged where they have a
            limit, beside a spread above 0; the rest is reported.
        """
        worst = names[self.worst] if 0 <= self.worst < len(names) else ""
        some = None if limits is None else Limit(0.0, "a map must say something", ">")
        cell, mean, loss, ranks = (
            (None,) * 4 if limits is None else (limits.cell, limits.mean, limits.argmax_loss, limits.cell_correlation)
        )
        first, n = f"{group}patch.", self.n
        return [
            metric(f"{first}max_relative_difference", self.relative, "logit spread", n=n, worst=worst, **held(cell)),
            metric(f"{first}mean_relative_difference", self.relative_mean, "logit spread", n=n, **held(mean)),
            metric(f"{first}spread", self.spread, "logit", n=n, **held(some)),
            metric(f"{first}max_difference", self.max_difference, "logit", n=n, worst=worst),
            metric(f"{first}mean_difference", self.mean_difference, "logit", n=n),
            metric(f"{first}bias", self.bias, "logit", n=n),
            metric(f"{first}argmax_stable", self.argmax_stable, "share of maps", n=n),
            metric(f"{first}argmax_loss", self.argmax_loss, "logit spread", n=n, **held(loss)),
            metric(f"{first}min_cell_rank_correlation", self.cell_correlation, "Spearman", n=n, **held(ranks)),
            metric(f"{first}not_finite", self.not_finite, "map", n=n),
        ]


def patch_parity(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> PatchParity:
    """Compare maps cell by cell.

    Parameters
    ----------
    reference, candidate : ndarray, float, shape (N, rows, cols)
        S5 of the same tensors; differences are taken in float64.

    Returns
    -------
    PatchParity
        N may be 0, and logits may be NaN: both fail when they are held to limits.

    Raises
    ------
    ParityError
        For two shapes, or another number of axes.
    """
    check_pair(reference, candidate, 3, "patch maps")
    one, other = (np.asarray(maps, np.float64) for maps in (reference, candidate))
    n, cells = len(one), one.shape[1:]
    bad = ~(np.isfinite(one) & np.isfinite(other)).all(axis=(1, 2))
    if not one.size or bad.any():
        worst = int(bad.argmax()) if n else -1
        return _nothing_known(n, int(bad.sum()), worst, cells)
    signed = other - one
    apart = np.abs(signed)
    by_map = apart.reshape(n, -1).max(axis=1)
    flat, others = one.reshape(n, -1), other.reshape(n, -1)
    # a map of one cell has neither spread nor ranks of its own: the pictures' are taken
    ranked = zip(flat, others, strict=True) if cells != (1, 1) else [(flat[:, 0], others[:, 0])]
    spread = float(one.std(axis=(1, 2)).mean() if cells != (1, 1) else one.std())
    largest = float(by_map.max())
    kept, chosen = flat.argmax(axis=1), others.argmax(axis=1)
    loss = flat.max(axis=1) - flat[np.arange(n), chosen]
    correlations = [spearman(a, b) for a, b in ranked]
    return PatchParity(
        n=n,
        not_finite=0,
        max_difference=largest,
        mean_difference=float(apart.mean()),
        bias=float(signed.mean()),
        spread=spread,
        relative=_ratio(largest, spread),
        relative_mean=_ratio(float(apart.mean(axis=(1, 2)).max()), spread),
        argmax_stable=float((kept == chosen).mean()),
        argmax_loss=_ratio(float(loss.max()), spread),
        cell_correlation=float(np.min(correlations)),
        worst=int(by_map.argmax()),
        by_map=by_map,
        by_cell=apart.max(axis=0),
        bias_by_cell=signed.mean(axis=0),
    )


def _nothing_known(n: int, not_finite: int, worst: int, cells: tuple[int, ...]) -> PatchParity:
    unknown, grid = float("nan"), np.full(cells, np.nan)
    return PatchParity(
        n=n,
        not_finite=not_finite,
        max_difference=unknown,
        mean_difference=unknown,
        bias=unknown,
        spread=unknown,
        relative=unknown,
        relative_mean=unknown,
        argmax_stable=unknown,
        argmax_loss=unknown,
        cell_correlation=unknown,
        worst=worst,
        by_map=np.full(n, np.nan),
        by_cell=grid,
        bias_by_cell=grid,
    )


def _ratio(difference: float, spread: float) -> float:
    if spread:
        return difference / spread
    return float("inf") if difference else 0.0
