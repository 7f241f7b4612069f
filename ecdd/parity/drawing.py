"""Pictures of a comparison: the worst sample, the differences cell by cell, and the layers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.parity.layer_bisecting import LayerDifference
    from ecdd.parity.pair_comparison import Sample
    from ecdd.parity.patch_map_parity import PatchParity

_LONGEST_NAME = 44


def draw_worst(
    sample: Sample, reference: NDArray[np.floating], candidate: NDArray[np.floating], titles: tuple[str, str]
) -> bytes:
    """Draw the worst sample: its pixels, both maps in one scale, and their difference in a scale of its own.

    Parameters
    ----------
    sample : Sample
        What both models read.
    reference, candidate : ndarray, float, shape (rows, cols)
        Its maps.
    titles : tuple of str
        What reference and candidate are.

    Returns
    -------
    bytes
        PNG.
    """
    figure, axes = _figure(4)
    axes[0].imshow(sample.s3)
    axes[0].set_title(f"worst: {sample.name}"[:_LONGEST_NAME])
    both = np.stack([reference, candidate])
    known = both[np.isfinite(both)]
    ends = (float(known.min()), float(known.max())) if known.size else (-1.0, 1.0)
    for axis, grid, title in zip(axes[1:3], both, titles, strict=True):
        shown = axis.imshow(grid, vmin=ends[0], vmax=ends[1], cmap="viridis")
        axis.set_title(f"{title}, logit"[:_LONGEST_NAME])
        figure.colorbar(shown, ax=axis, shrink=0.75)
    _signed(figure, axes[3], both[1] - both[0], "candidate - reference, logit")
    return _png(figure)


def draw_cells(parity: PatchParity) -> bytes:
    """Draw for every cell the largest |difference| and the mean difference over all maps; PNG."""
    figure, axes = _figure(2)
    shown = axes[0].imshow(parity.by_cell, cmap="magma", vmin=0)
    axes[0].set_title(f"largest |difference| of {parity.n} maps, logit")
    figure.colorbar(shown, ax=axes[0], shrink=0.75)
    _signed(figure, axes[1], parity.bias_by_cell, "mean difference, logit")
    return _png(figure)


def draw_layers(layers: Sequence[LayerDifference]) -> bytes:
    """Draw the difference of every layer relative to its spread, beside its budget; PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.32 * len(layers)), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(layers))
    values = np.array([one.relative for one in layers])
    colours = ["#b2182b" if one.exceeds else "#999999" if one.factors else "#2166ac" for one in layers]
    # zero has no place on a logarithmic axis: a bar is at least as long as float32 can tell
    axis.barh(places, np.maximum(np.nan_to_num(values, nan=np.inf, posinf=1e3), 1e-8), color=colours)
    axis.scatter([one.budget for one in layers], places, marker="|", s=160, color="black", label="budget")
    axis.set_yticks(places, [one.name[-_LONGEST_NAME:] for one in layers])
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel("max |difference| / the layer's spread; red: above its budget; grey: a factor alone")
    axis.legend(loc="best")
    return _png(figure)


def _figure(count: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * count, 4.4), layout="constrained")
    axes = figure.subplots(1, count)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def _signed(figure: Any, axis: Any, values: NDArray[np.floating], title: str) -> None:  # noqa: ANN401 - matplotlib
    known = np.abs(values[np.isfinite(values)])
    end = float(known.max()) if known.size and known.max() > 0 else 1.0
    shown = axis.imshow(values, cmap="RdBu_r", vmin=-end, vmax=end)
    axis.set_title(title)
    figure.colorbar(shown, ax=axis, shrink=0.75)


def _png(figure: Any) -> bytes:  # noqa: ANN401 - matplotlib
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
