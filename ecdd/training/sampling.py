"""Draw training tensors so that face size, sharpness and colour mode say nothing about the class.

Harmonising sizes alone is not enough: of two pictures reduced to one size the one from the larger original is
sharper. Measured on the shared data, sharpness inside one size stratum told Stable Diffusion from portraits and
pointed the *other* way for StyleGAN, so a student trained on it was worse than chance on a new generator.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecdd.training.cache import ORIGINAL, Variant
from ecdd.training.config import TrainingError

Cell = tuple[int, int, bool]


@dataclass(frozen=True)
class BalancedSet:
    """Harmonised tensors arranged by (size stratum, sharpness bin, colour mode), both classes in every cell.

    Attributes
    ----------
    variants : list of Variant
        The tensors in use.
    cells : dict
        Cell to {label: {picture: positions in ``variants``}}.
    dropped : dict of str to int
        Tensors lost, by class, in cells that hold too few pictures of the other class.
    """

    variants: list[Variant]
    cells: dict[Cell, dict[int, dict[str, list[int]]]]
    dropped: dict[str, int]

    def labels(self) -> NDArray[np.int64]:
        """Label of each variant, shape (n,)."""
        return np.array([v.label for v in self.variants], np.int64)

    def cell_masses(self) -> dict[Cell, int]:
        """Weight of each cell: the number of pictures of its smaller class."""
        return {cell: min(len(pictures) for pictures in classes.values()) for cell, classes in self.cells.items()}

    def weights(self) -> NDArray[np.float64]:
        """Weight of each variant, shape (n,): a cell has its mass in either class, its pictures weigh alike."""
        weights = np.zeros(len(self.variants))
        masses = self.cell_masses()
        for cell, classes in self.cells.items():
            for pictures in classes.values():
                for positions in pictures.values():
                    weights[positions] = masses[cell] / (len(pictures) * len(positions))
        return weights


def balanced(variants: list[Variant], sharpness_edges: list[float], least: int = 2) -> BalancedSet:
    """Arrange harmonised variants; a cell with (almost) one class only would reveal it and is dropped.

    Parameters
    ----------
    variants : list of Variant
        Of any kind; originals are ignored.
    sharpness_edges : list of float
        Edges of the bins of the variance of the Laplacian, level^2, rising; below the first and above the last
        are bins too. Empty: sharpness is not matched, size and colour mode are.
    least : int
        Fewest pictures of either class in a cell.

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
        if variant.kind != ORIGINAL:
            sharpness = int(np.searchsorted(sharpness_edges, variant.quality.blur, side="right"))
            gathered[variant.stratum, sharpness, variant.grey].append(variant)
    kept: list[Variant] = []
    cells: dict[Cell, dict[int, dict[str, list[int]]]] = {}
    dropped = {"real": 0, "fake": 0}
    for cell, members in sorted(gathered.items()):
        pictures = [len({v.picture for v in members if v.label == label}) for label in (0, 1)]
        if min(pictures) < least:
            dropped["fake"] += sum(v.label for v in members)
            dropped["real"] += sum(1 - v.label for v in members)
            continue
        classes: dict[int, dict[str, list[int]]] = {0: defaultdict(list), 1: defaultdict(list)}
        for variant in members:
            classes[variant.label][variant.picture].append(len(kept))
            kept.append(variant)
        cells[cell] = classes
    if not cells:
        msg = "no cell holds both classes: no face size and sharpness is common to reals and fakes; widen the edges"
        raise TrainingError(msg)
    return BalancedSet(kept, cells, dropped)


def draw(data: BalancedSet, n: int, rng: np.random.Generator, forged_share: float = 0.0) -> NDArray[np.int64]:
    """Draw positions: a cell, a class by turns, a picture of it, a variant of that.

    Parameters
    ----------
    data : BalancedSet
        What to draw from.
    n : int
        How many.
    rng : Generator
        Source of randomness.
    forged_share : float
        Share of the fakes that are forgeries of our own, in cells that hold those and fakes of the manifest, 0 … 1.

    Returns
    -------
    ndarray, int64, shape (n,)
        Positions in ``data.variants``; half of them fake, the same cells for both classes.
    """
    keys = sorted(data.cells)
    masses = np.array([data.cell_masses()[key] for key in keys], np.float64)
    chosen = np.repeat(rng.choice(len(keys), size=(n + 1) // 2, p=masses / masses.sum()), 2)[:n]
    out = np.empty(n, np.int64)
    for k in range(n):
        pictures = data.cells[keys[chosen[k]]][k % 2]
        names = _one_kind(pictures, forged_share, rng)
        positions = pictures[names[int(rng.integers(len(names)))]]
        out[k] = positions[int(rng.integers(len(positions)))]
    return out


def _one_kind(pictures: dict[str, list[int]], forged_share: float, rng: np.random.Generator) -> list[str]:
    """Names of the forgeries or of the other pictures, whichever was drawn; of all where there is one kind."""
    forged, others = (sorted(n for n in pictures if (":" in n) == own) for own in (True, False))
    if not forged or not others:
        return forged or others
    return forged if rng.random() < forged_share else others
