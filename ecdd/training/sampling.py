"""Draw training tensors so that face size, colour mode and class are independent of each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.training.cache import HARMONISED, Variant
from ecdd.training.config import SplitSettings, TrainingError

Cell = tuple[int, bool]


@dataclass(frozen=True)
class BalancedSet:
    """Harmonised tensors arranged by (stratum, colour mode), both classes present in every cell.

    Attributes
    ----------
    variants : list of Variant
        The tensors in use.
    cells : dict
        (stratum, grey) to {label: {picture: positions in ``variants``}}.
    dropped_cells : dict of str to int
        Cells without one of the classes, with the tensors lost by it.
    """

    variants: list[Variant]
    cells: dict[Cell, dict[int, dict[str, list[int]]]]
    dropped_cells: dict[str, int]

    def labels(self) -> NDArray[np.int64]:
        """Label of each variant, shape (n,)."""
        return np.array([v.label for v in self.variants], np.int64)

    def weights(self) -> NDArray[np.float64]:
        """Weight of each variant so that every cell, class in it, and picture in that weigh alike, shape (n,)."""
        weights = np.zeros(len(self.variants))
        for classes in self.cells.values():
            for pictures in classes.values():
                for positions in pictures.values():
                    weights[positions] = 1 / (len(pictures) * len(positions))
        return weights


def balanced(variants: list[Variant]) -> BalancedSet:
    """Arrange harmonised variants; a cell without one of the classes would reveal the class and is dropped.

    Parameters
    ----------
    variants : list of Variant
        Of any kind; originals are ignored.

    Returns
    -------
    BalancedSet
        At least one cell.

    Raises
    ------
    TrainingError
        If no cell holds both classes.
    """
    gathered: dict[Cell, list[Variant]] = defaultdict(list)
    for variant in variants:
        if variant.kind == HARMONISED:
            gathered[variant.stratum, variant.grey].append(variant)
    kept: list[Variant] = []
    cells: dict[Cell, dict[int, dict[str, list[int]]]] = {}
    dropped: dict[str, int] = {}
    for cell, members in sorted(gathered.items()):
        if {v.label for v in members} != {0, 1}:
            dropped[f"stratum {cell[0]}, {'grey' if cell[1] else 'colour'}"] = len(members)
            continue
        classes: dict[int, dict[str, list[int]]] = {0: defaultdict(list), 1: defaultdict(list)}
        for variant in members:
            classes[variant.label][variant.sha256].append(len(kept))
            kept.append(variant)
        cells[cell] = classes
    if not cells:
        msg = "no stratum holds both classes: no face size is common to reals and fakes; widen crop_side_edges"
        raise TrainingError(msg)
    return BalancedSet(kept, cells, dropped)


def draw(data: BalancedSet, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw positions: a cell, a class by turns, a picture of it, a variant of that.

    Parameters
    ----------
    data : BalancedSet
        What to draw from.
    n : int
        How many.
    rng : Generator
        Source of randomness.

    Returns
    -------
    ndarray, int64, shape (n,)
        Positions in ``data.variants``; half of them fake, the same cells for both classes.
    """
    keys = sorted(data.cells)
    chosen = np.repeat(rng.integers(len(keys), size=(n + 1) // 2), 2)[:n]
    out = np.empty(n, np.int64)
    for k in range(n):
        pictures = data.cells[keys[chosen[k]]][k % 2]
        names = sorted(pictures)
        positions = pictures[names[int(rng.integers(len(names)))]]
        out[k] = positions[int(rng.integers(len(positions)))]
    return out


def split_validation(
    variants: list[Variant], settings: SplitSettings, seed: int
) -> tuple[list[Variant], list[Variant]]:
    """Split TRAIN variants: whole sources validate, and of others a share of their near-duplicate groups.

    Parameters
    ----------
    variants : list of Variant
        All of lineage TRAIN.
    settings : SplitSettings
        Sources and shares.
    seed : int
        Decides which groups of a shared source validate.

    Returns
    -------
    tuple of list
        Training and validation variants; no group is in both.
    """
    rng = np.random.default_rng(seed)
    held: set[str] = {v.group for v in variants if v.source in settings.validation_sources}
    for source, share in sorted(settings.validation_share.items()):
        groups = sorted({v.group for v in variants if v.source == source})
        held.update(str(g) for g in rng.permutation(groups)[: round(share * len(groups))])
    return [v for v in variants if v.group not in held], [v for v in variants if v.group in held]
