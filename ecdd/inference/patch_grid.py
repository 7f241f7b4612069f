"""The patch grid (S5): which pixels each cell of the patch-logit map sees.

Cell (i, j) sees rows ``stride*i`` to ``stride*i + receptive_field - 1`` of S4, and columns likewise; no padding. At
256 px with stride 8 and receptive field 9 the 31 cells end at row 248: rows and columns 249 to 255 are seen by none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecdd.contract.model_sections import PatchGrid


class PixelBox(NamedTuple):
    """Half-open box in S4 pixels: rows y0 to y1, columns x0 to x1."""

    y0: int
    x0: int
    y1: int
    x1: int


class PictureBox(NamedTuple):
    """Box in upright source-picture pixels, edges at whole numbers where pixels meet."""

    x0: float
    y0: float
    x1: float
    y1: float


def cell_box(i: int, j: int, grid: PatchGrid) -> PixelBox:
    """Pixels that cell (i, j) sees.

    Parameters
    ----------
    i, j : int
        Row and column of the cell, 0-based.
    grid : PatchGrid
        Geometry.

    Returns
    -------
    PixelBox
        Half open, S4 pixels; may begin before 0 only where the grid is padded.

    Raises
    ------
    IndexError
        For a cell outside the grid.
    """
    if not (0 <= i < grid.rows and 0 <= j < grid.cols):
        msg = f"cell ({i}, {j}) is outside the grid of {grid.rows}x{grid.cols}"
        raise IndexError(msg)
    side, before = grid.box
    y0, x0 = grid.stride * i - before, grid.stride * j - before
    return PixelBox(y0, x0, y0 + side, x0 + side)


def standing_for(grid: PatchGrid, input_size: int) -> PatchGrid:
    """Return the geometry that says which pixels a cell stands for.

    Parameters
    ----------
    grid : PatchGrid
        Geometry.
    input_size : int
        Side of S4, px.

    Returns
    -------
    PatchGrid
        The grid itself. Where every cell sees the whole picture, its tiles of ``stride`` px in place of its fields.
    """
    if not grid.sees_whole_picture(input_size):
        return grid
    return grid.model_copy(update={"receptive_field": grid.stride, "padding": 0})


def cells_seeing(box: PixelBox, grid: PatchGrid) -> tuple[range, range]:
    """Cells that see at least one pixel of a box.

    Parameters
    ----------
    box : PixelBox
        Half open, S4 pixels.
    grid : PatchGrid
        Geometry.

    Returns
    -------
    tuple of range
        Rows and columns; empty ranges for pixels that no cell sees.
    """
    return _span(box.y0, box.y1, grid.rows, grid), _span(box.x0, box.x1, grid.cols, grid)


def _span(start: int, end: int, count: int, grid: PatchGrid) -> range:
    if end <= start:
        return range(0)
    side, before = grid.box
    first = -(-(start + before - side + 1) // grid.stride)
    last = (end - 1 + before) // grid.stride
    return range(max(first, 0), min(last + 1, count))


def unseen_from(grid: PatchGrid) -> tuple[int, int]:
    """First row and first column of S4 that no cell sees."""
    side, before = grid.box
    reach = side - before
    return grid.stride * (grid.rows - 1) + reach, grid.stride * (grid.cols - 1) + reach


def cell_box_in_picture(i: int, j: int, grid: PatchGrid, crop: Sequence[int], input_size: int) -> PictureBox:
    """Where a cell lies in the upright source picture.

    Parameters
    ----------
    i, j : int
        Cell.
    grid : PatchGrid
        Geometry.
    crop : sequence of int
        ``x0, y0, x1, y1`` of the face's crop, upright picture pixels.
    input_size : int
        Side of S4.

    Returns
    -------
    PictureBox
        The cell's box taken back through the resize. The resize kernel blurs its border by its support.
    """
    box = cell_box(i, j, grid)
    x_scale, y_scale = (crop[2] - crop[0]) / input_size, (crop[3] - crop[1]) / input_size
    return PictureBox(
        crop[0] + box.x0 * x_scale, crop[1] + box.y0 * y_scale, crop[0] + box.x1 * x_scale, crop[1] + box.y1 * y_scale
    )
