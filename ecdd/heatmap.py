"""A picture of the patch-logit map over the face, for a person to read: which cells speak for fake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ecdd.inference.patch_grid import cell_box, standing_for, unseen_from
from ecdd.inference.stages import argmax_cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.schema import PolicyContract

_SCALE: Final = 2
_MARGIN: Final = 16
_HEADER: Final = 64
_BAR_WIDTH: Final = 22
_BAR_SPACE: Final = 110
_BACKGROUND: Final = (250, 250, 250)
_INK: Final = (25, 28, 32)
_STRENGTH: Final = 0.62
NO_MAP: Final = "this model gives one number for the whole face: there is no map"
# Blue for real, red for fake, and nothing in between: legible without telling red from green.
_REAL: Final = np.array([33, 102, 172], np.float64)
_FAKE: Final = np.array([178, 24, 43], np.float64)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A heatmap that is drawn when it is asked for; parameters as for `heatmap`. Holds one face, about 0.2 MB."""

    s3: NDArray[np.uint8]
    patch_map: NDArray[np.float32]
    policy: PolicyContract

    def __call__(self, title: str, subtitle: str) -> Image.Image:
        """Draw it."""
        return heatmap(self.s3, self.patch_map, self.policy, title, subtitle)

    def __eq__(self, other: object) -> bool:
        """Whether the same would be drawn."""
        if not isinstance(other, Drawing):
            return NotImplemented
        pairs = ((self.s3, other.s3), (self.patch_map, other.patch_map))
        return self.policy == other.policy and all(np.array_equal(one, two) for one, two in pairs)

    __hash__ = object.__hash__


def heatmap(
    s3: NDArray[np.uint8], patch_map: NDArray[np.float32], policy: PolicyContract, title: str, subtitle: str
) -> Image.Image:
    """Draw a patch-logit map over its face.

    Parameters
    ----------
    s3 : ndarray, uint8, shape (S, S, 3)
        The face as the model saw it.
    patch_map : ndarray, float32, shape (rows, cols)
        S5.
    policy : PolicyContract
        Grid geometry.
    title, subtitle : str
        Two lines above the picture.

    Returns
    -------
    Image
        RGB: face and overlay, a colour bar in logits (full colour from the 99th percentile on), and the box of the
        largest cell. Pixels that no cell sees stay uncoloured. Of a model with one number for the whole face there is
        no map: the face stays as it is, and a line says so.
    """
    side = s3.shape[0]
    limit = colour_limit(patch_map)
    face = overlay(s3, patch_map, policy)
    original = Image.fromarray(s3).resize((side * _SCALE, side * _SCALE))
    width = 2 * side * _SCALE + 3 * _MARGIN + _BAR_SPACE
    canvas = Image.new("RGB", (width, side * _SCALE + _HEADER + 2 * _MARGIN + 22), _BACKGROUND)
    canvas.paste(original, (_MARGIN, _HEADER))
    left = 2 * _MARGIN + side * _SCALE
    canvas.paste(face, (left, _HEADER))
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, 10), title, fill=_INK, font=ImageFont.load_default(22))
    draw.text((_MARGIN, 38), subtitle, fill=_INK, font=ImageFont.load_default(15))
    foot = (_MARGIN, _HEADER + side * _SCALE + 10)
    if not has_cells(patch_map):
        draw.text(foot, NO_MAP, fill=_INK, font=ImageFont.load_default(14))
        return canvas
    _draw_bar(canvas, draw, (left + side * _SCALE + _MARGIN, _HEADER), side * _SCALE, limit)
    row, col = argmax_cell(patch_map)
    box = cell_box(row, col, standing_for(policy.patch_grid, side))
    text = f"box: largest cell ({row}, {col}), rows {box.y0}-{box.y1 - 1}, columns {box.x0}-{box.x1 - 1}; "
    unseen = unseen_from(policy.patch_grid)[0]
    text += "every cell sees the whole face" if unseen >= side else f"no cell sees rows and columns from {unseen} on"
    draw.text(foot, text, fill=_INK, font=ImageFont.load_default(14))
    return canvas


def overlay(s3: NDArray[np.uint8], patch_map: NDArray[np.float32], policy: PolicyContract) -> Image.Image:
    """Draw the tinted face alone, with the box of the largest cell.

    Parameters
    ----------
    s3 : ndarray, uint8, shape (S, S, 3)
        The face as the model saw it.
    patch_map : ndarray, float32, shape (rows, cols)
        S5.
    policy : PolicyContract
        Grid geometry.

    Returns
    -------
    Image
        RGB, two pixels wide and high for each of the model's; full colour from `colour_limit` on. The bare face where
        the model has no map.
    """
    side = s3.shape[0]
    if not has_cells(patch_map):
        return Image.fromarray(s3).resize((side * _SCALE, side * _SCALE))
    face = Image.fromarray(_blend(s3, patch_map, policy, colour_limit(patch_map)))
    face = face.resize((side * _SCALE, side * _SCALE))
    _draw_largest_cell(ImageDraw.Draw(face), patch_map, policy)
    return face


def has_cells(patch_map: NDArray[np.float32]) -> bool:
    """Whether there is a map: one cell is one number for the whole face, and coloured it would only look like one."""
    return patch_map.size > 1


def colour_limit(patch_map: NDArray[np.float32]) -> float:
    """The logit of full colour: the 99th percentile of the cells that say anything.

    One cell at a hard edge can reach ten times its neighbours; scaled to it, all others would look grey.
    """
    strengths = np.abs(patch_map[patch_map != 0])
    return max(float(np.percentile(strengths, 99)), 1e-6) if strengths.size else 1e-6


def _blend(
    s3: NDArray[np.uint8], patch_map: NDArray[np.float32], policy: PolicyContract, limit: float
) -> NDArray[np.uint8]:
    """Tint every stride-sized tile by its cell's logit."""
    grey = s3.astype(np.float64) * 0.35 + s3.astype(np.float64).mean(axis=2, keepdims=True) * 0.65
    grid = policy.patch_grid
    tiles = np.kron(patch_map, np.ones((grid.stride, grid.stride)))
    height, width = min(tiles.shape[0], s3.shape[0]), min(tiles.shape[1], s3.shape[1])
    share = np.zeros(s3.shape[:2])
    share[:height, :width] = np.clip(tiles[:height, :width] / limit, -1, 1)
    colour = np.where(share[..., None] >= 0, _FAKE, _REAL)
    weight = np.abs(share)[..., None] * _STRENGTH
    blended: NDArray[np.uint8] = np.rint(grey * (1 - weight) + colour * weight).astype(np.uint8)
    return blended


def _draw_largest_cell(draw: ImageDraw.ImageDraw, patch_map: NDArray[np.float32], policy: PolicyContract) -> None:
    box = cell_box(*argmax_cell(patch_map), standing_for(policy.patch_grid, policy.pixel_pipeline.input_size))
    place = [value * _SCALE for value in (box.x0, box.y0, box.x1, box.y1)]
    draw.rectangle(place, outline=(255, 255, 255), width=4)
    draw.rectangle(place, outline=(0, 0, 0), width=2)


def _draw_bar(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, origin: tuple[int, int], height: int, limit: float
) -> None:
    share = np.linspace(1, -1, height)[:, None]
    colour = np.where(share >= 0, _FAKE, _REAL)
    weight = np.abs(share) * _STRENGTH
    column = np.rint(200 * (1 - weight) + colour * weight).astype(np.uint8)
    canvas.paste(Image.fromarray(np.repeat(column[:, None, :], _BAR_WIDTH, axis=1)), origin)
    font = ImageFont.load_default(14)
    for position, text in ((0.0, f">= {limit:.1f} fake"), (0.5, "0"), (1.0, f"<= {-limit:.1f} real")):
        y = origin[1] + position * height
        draw.text((origin[0] + _BAR_WIDTH + 6, y - 9 + (0.5 - position) * 16), text, fill=_INK, font=font)
