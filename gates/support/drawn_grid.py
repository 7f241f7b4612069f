"""The patch grid drawn over a face: boxes, null pixels, and the strip that no cell sees."""

from __future__ import annotations

from typing import Any

from ecdd.inference.patch_grid import cell_box, unseen_from


def draw_grid(s3: Any, policy: Any, null: set[tuple[int, int]]) -> Any:
    """A Matplotlib figure of S3 with the grid over it, and one cell enlarged."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    grid, side = policy.patch_grid, policy.pixel_pipeline.input_size
    first_row, first_col = unseen_from(grid)
    row, col = grid.rows // 2, grid.cols // 2
    box = cell_box(row, col, grid)
    figure = Figure(figsize=(9.5, 4.8))
    whole, part = figure.subplots(1, 2, width_ratios=(1.0, 0.9))
    grey = s3.mean(axis=2)
    whole.imshow(grey, cmap="gray", vmin=0, vmax=255, alpha=0.55)
    for r in range(grid.rows):
        whole.axhline(cell_box(r, 0, grid).y0 - 0.5, color="#2166ac", linewidth=0.3)
    for c in range(grid.cols):
        whole.axvline(cell_box(0, c, grid).x0 - 0.5, color="#2166ac", linewidth=0.3)
    strip = {"facecolor": "none", "edgecolor": "#b2182b", "hatch": "////", "linewidth": 0.8}
    whole.add_patch(Rectangle((-0.5, first_row - 0.5), side, side - first_row, **strip))
    whole.add_patch(Rectangle((first_col - 0.5, -0.5), side - first_col, first_row, **strip))
    field = grid.receptive_field
    whole.add_patch(Rectangle((box.x0 - 0.5, box.y0 - 0.5), field, field, fill=False, edgecolor="black", linewidth=1.5))
    whole.set_title(f"S4: {grid.rows} x {grid.cols} cells, every {grid.stride} px", fontsize=10)
    around = (slice(box.y0 - 4, box.y1 + 4), slice(box.x0 - 4, box.x1 + 4))
    extent = (box.x0 - 4.5, box.x1 + 3.5, box.y1 + 3.5, box.y0 - 4.5)
    part.imshow(grey[around], cmap="gray", vmin=0, vmax=255, extent=extent, alpha=0.35)
    part.imshow(s3[box.y0 : box.y1, box.x0 : box.x1], extent=(box.x0 - 0.5, box.x1 - 0.5, box.y1 - 0.5, box.y0 - 0.5))
    part.add_patch(Rectangle((box.x0 - 0.5, box.y0 - 0.5), field, field, fill=False, edgecolor="black", linewidth=1.5))
    for dy, dx in null:
        part.add_patch(Rectangle((box.x0 + dx - 0.5, box.y0 + dy - 0.5), 1, 1, facecolor="black"))
    part.set_xlim(extent[0], extent[1])
    part.set_ylim(extent[2], extent[3])
    part.set_title(f"cell ({row}, {col}): rows {box.y0}-{box.y1 - 1}, columns {box.x0}-{box.x1 - 1}", fontsize=10)
    for axes in (whole, part):
        axes.set_xlabel("column, px")
        axes.set_ylabel("row, px")
    figure.tight_layout()
    return figure
