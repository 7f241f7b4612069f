"""Maps beside each other, for a person to see where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_worst(reference: NDArray[np.floating], candidate: NDArray[np.floating] | None = None) -> Figure:
    """Draw a map, or reference, candidate and their difference.

    Parameters
    ----------
    reference : ndarray, floating, shape (rows, cols)
        Map of the reference, or of differences.
    candidate : ndarray, optional
        Map of the candidate, same shape; drawn with the reference's colours.

    Returns
    -------
    Figure
        One panel, or three.
    """
    from matplotlib.figure import Figure

    panels = [("mean |difference|", reference)]
    if candidate is not None:
        panels = [("reference", reference), ("candidate", candidate), ("difference", candidate - reference)]
    figure = Figure(figsize=(4.2 * len(panels), 3.6))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    reach = float(np.abs(reference).max()) or 1.0
    for place, (title, values) in zip(axes, panels, strict=True):
        single = candidate is None
        own = float(np.abs(values).max()) or 1.0
        top = own if single or title == "difference" else reach
        colours = "viridis" if single else "RdBu_r"
        shown = place.imshow(values, cmap=colours, vmin=0 if single else -top, vmax=top)
        place.set_title(title, fontsize=10)
        place.set_xticks([])
        place.set_yticks([])
        figure.colorbar(shown, ax=place, shrink=0.85, label="logit")
    figure.tight_layout()
    return figure
