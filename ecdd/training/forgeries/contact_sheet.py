"""A contact sheet of forgeries, for a person to look at: what was changed, where, and which cells see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.errors import EcddError
from ecdd.inference.patch_grid import standing_for
from ecdd.training.forgeries.face_reader import CutSettings, FaceReader
from ecdd.training.forgeries.forged_cells import FORGED, UNDECIDED, cell_labels
from ecdd.training.forgeries.forgery import ForgeryRefused
from ecdd.training.forgeries.forging import Forged, ForgedTensor, NotForged, prepare_forgery, seed_for
from ecdd.training.forgeries.registry import find_generator, forge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.schema import PolicyContract
    from ecdd.golden.golden_sets import GoldenSet
    from ecdd.pipeline.face import FaceBackend

TILE: Final = 256
GAP: Final = 6
HEADER: Final = 46
CAPTION: Final = 40
COLUMNS: Final = ("real", "forged", "mask", "difference x 8", "S3: forged cells red, partly forged yellow")
AMPLIFY: Final = 8
BACKGROUND: Final = (250, 250, 250)
INK: Final = (25, 28, 32)
RED: Final = (214, 30, 40)
YELLOW: Final = (235, 180, 20)


class SheetError(EcddError):
    """A sheet that cannot be drawn; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """A drawn sheet.

    Attributes
    ----------
    image : PIL.Image.Image
        RGB.
    rows : int
        Forgeries on it.
    refused : dict of str to int
        Pictures that could not be forged, by reason, and faces that the detector lost by the forgery.
    """

    image: Image.Image
    rows: int
    refused: dict[str, int]


def golden_forgeries(
    golden: GoldenSet, generator: str, seed: int, policy: PolicyContract, detector: FaceBackend
) -> Iterator[Forged | NotForged]:
    """Forge golden portraits over and over with rising seeds; only those that golden forgeries are made from already.

    Raises
    ------
    SheetError
        The generator needs a second person: nobody's face is put on a golden person.
    """
    chosen = find_generator(generator)
    if chosen.needs_partner:
        raise SheetError(
            f"{generator} puts one person's face on another, and no swap is made of the people in the golden set; "
            "give --data MANIFEST with pictures tagged TRAIN"
        )
    allowed = {name for item in golden.by_set("in_scope") for name in item.derived_from}
    rows = [
        ManifestRow(golden.file(item), item.path, 0, "face", "golden", None, item.sha256)
        for item in golden.by_set("in_scope")
        if item.expected.label == "real" and item.id in allowed
    ]
    if not rows:
        raise SheetError(f"{golden.root}: no real picture that a golden forgery is derived from; give --data MANIFEST")
    reader = FaceReader(policy, detector, CutSettings(crop_side=(64, 505), max_factor=1.0), seed)
    turn = 0
    while True:
        for row in rows:
            try:
                source = reader.reduced(row)
                forgery = forge(generator, source, seed_for(row.sha256, generator, seed + turn))
                yield Forged(row, None, source.picture, forgery)
            except ForgeryRefused as refused:
                yield NotForged(row, refused.reason, str(refused))
        turn += 1


def draw_sheet(
    outcomes: Iterable[Forged | NotForged], count: int, policy: PolicyContract, detector: FaceBackend, title: str
) -> Sheet:
    """Draw the first forgeries of a stream.

    Parameters
    ----------
    outcomes : iterable of Forged or NotForged
        Read until ``count`` were drawn, or five times as many were looked at.
    count : int
        Rows, >= 1.
    policy : PolicyContract
        For S3 and the grid.
    detector : FaceBackend
        The contract's.
    title : str
        First line.

    Raises
    ------
    SheetError
        Nothing could be forged.
    """
    strips: list[Image.Image] = []
    refused: Counter[str] = Counter()
    for looked_at, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, NotForged):
            refused[outcome.reason] += 1
        else:
            tensor = prepare_forgery(outcome.forgery, policy, detector)
            if tensor is None:
                refused["face lost by the forgery"] += 1
            else:
                strips.append(_strip(outcome, tensor, policy))
        if len(strips) == count or looked_at == 5 * count:
            break
    if not strips:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in refused.most_common())
        raise SheetError(f"nothing was forged: {reasons or 'no real picture'}")
    width, height = strips[0].size
    canvas = Image.new("RGB", (width, HEADER + len(strips) * height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 4), title, fill=INK, font=ImageFont.load_default(16))
    for column, name in enumerate(COLUMNS):
        draw.text((GAP + column * (TILE + GAP), 26), name, fill=INK, font=ImageFont.load_default(12))
    for index, strip in enumerate(strips):
        canvas.paste(strip, (0, HEADER + index * height))
    return Sheet(canvas, len(strips), dict(sorted(refused.items())))


def _strip(forged: Forged, tensor: ForgedTensor, policy: PolicyContract) -> Image.Image:
    """One row with its caption."""
    forgery = forged.forgery
    keeps = find_generator(forgery.generator).keeps_picture
    difference = np.abs(forgery.picture.astype(np.int16) - forged.before) if keeps else None
    tiles = (
        forged.before if keeps else None,
        forgery.picture,
        np.repeat(np.rint(forgery.mask * 255).astype(np.uint8)[..., None], 3, axis=2),
        None if difference is None else np.clip(difference * AMPLIFY, 0, 255).astype(np.uint8),
        _with_cells(tensor, policy),
    )
    strip = Image.new("RGB", (GAP + len(tiles) * (TILE + GAP), TILE + CAPTION), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for column, tile in enumerate(tiles):
        left = GAP + column * (TILE + GAP)
        if tile is None:
            draw.text((left + 60, TILE // 2), "no source picture", fill=INK, font=ImageFont.load_default(13))
            continue
        strip.paste(_fitted(tile), (left, 0))
    share = float((cell_labels(tensor.shares) == FORGED).mean())
    codes = " ".join(tensor.face.reason_codes) or "none"
    height, width = forgery.mask.shape
    first = f"{forged.row.name if keeps else 'no source'}   {width} x {height} px   forged cells {share:.0%}"
    first += f"   gates failed: {codes}"
    second = ", ".join(f"{name} {value}" for name, value in forgery.parameters.items())
    for line, text in enumerate((first, second)):
        draw.text((GAP, TILE + 3 + 17 * line), text, fill=INK, font=ImageFont.load_default(12))
    return strip


def _fitted(picture: NDArray[np.uint8]) -> Image.Image:
    """The whole picture inside a tile."""
    image = Image.fromarray(picture)
    factor = TILE / max(image.size)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    canvas = Image.new("RGB", (TILE, TILE), BACKGROUND)
    canvas.paste(image.resize(size, Image.Resampling.BICUBIC), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return canvas


def _with_cells(tensor: ForgedTensor, policy: PolicyContract) -> NDArray[np.uint8]:
    """S3 with a line wherever a cell's neighbour has another label."""
    image = Image.fromarray(tensor.face.s3)
    draw = ImageDraw.Draw(image)
    labels = cell_labels(tensor.shares)
    grid = standing_for(policy.patch_grid, policy.pixel_pipeline.input_size)
    stride, shift = grid.stride, -grid.padding
    for colour, kind in ((YELLOW, UNDECIDED), (RED, FORGED)):
        inside = np.pad(labels == kind, 1)
        for i, j in np.argwhere(inside):
            y, x = (int(i) - 1) * stride + shift, (int(j) - 1) * stride + shift
            ends = {(-1, 0): (x, y, x + stride, y), (1, 0): (x, y + stride, x + stride, y + stride),
                    (0, -1): (x, y, x, y + stride), (0, 1): (x + stride, y, x + stride, y + stride)}  # fmt: skip
            for (di, dj), line in ends.items():
                if not inside[i + di, j + dj]:
                    draw.line(line, fill=colour)
    return np.asarray(image)
