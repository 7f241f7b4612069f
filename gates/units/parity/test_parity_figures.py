"""The figures of a comparison: what their colours and lengths say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ecdd.parity.drawing import _signed, draw_layers
from ecdd.parity.layer_bisecting import LayerDifference


@pytest.mark.parametrize(
    ("values", "end"),
    [([-3.0, 1.0], 3), ([0.5, -0.25], 0.5), ([np.nan, 2.0, -np.inf], 2), ([0.0, 0.0], 1), ([np.nan, np.nan], 1)],
)
def test_no_difference_lies_in_the_middle_of_the_colours(values: list[float], end: float) -> None:
    """Blue and red reach as far as the largest number: the same distance in either direction is as dark."""
    figure = Figure()
    axis = figure.subplots()
    _signed(figure, axis, np.array([values]), "difference")
    (shown,) = axis.images
    assert shown.get_clim() == (-end, end)


def test_a_layer_more_is_a_line_more() -> None:
    """Names of many layers stay apart, and the figure of a deep network stays a figure."""
    layer = LayerDifference("conv", "conv", "Conv", "name", (2, 2, 1), 0.1, 1.0, 0.1, 0.1, None, 0.01)
    few, many = (Image.open(io.BytesIO(draw_layers([layer] * count))).height for count in (4, 24))
    assert 20 <= (many - few) / 20 <= 60
