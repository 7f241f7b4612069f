"""Leave-one-source-out: what a training never saw, a family of generators and one source of portraits at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecdd.training.cache import ORIGINAL, Variant
from ecdd.training.config import LeaveOutSettings, TrainingError


@dataclass(frozen=True)
class SourceFold:
    """One pair of what is left out.

    Attributes
    ----------
    family : str
        Name of the family of generators.
    fake_sources : tuple of str
        Sources of that family: generators of one kind are left out together.
    real_source : str
        Source of portraits.
    """

    family: str
    fake_sources: tuple[str, ...]
    real_source: str

    @property
    def name(self) -> str:
        """Name of the fold, fit for a folder."""
        return f"without-{self.family}-{self.real_source}"


@dataclass(frozen=True)
class FoldParts:
    """Variants of one training, no near-duplicate group in two parts.

    Attributes
    ----------
    train, validation, test : list of Variant
        Validation is drawn from the sources trained on; test is what was left out (empty where nothing was).
    """

    train: list[Variant]
    validation: list[Variant]
    test: list[Variant]


def source_folds(settings: LeaveOutSettings) -> list[SourceFold]:
    """List every pair of a family of generators and a source of portraits, sorted by name."""
    return [
        SourceFold(family, tuple(sources), real)
        for family, sources in sorted(settings.fake_families.items())
        for real in sorted(settings.real_sources)
    ]


def fold_parts(
    variants: Sequence[Variant], fold: SourceFold | None, share: float, seed: int, measured: int
) -> FoldParts:
    """Split variants for one training.

    A group that has a picture in the test part leaves the other two, whatever source its other pictures have.
    Forgeries of our own are trained on, never measured on.

    Parameters
    ----------
    variants : sequence of Variant
        All of lineage TRAIN.
    fold : SourceFold, optional
        What to leave out; nothing where not given.
    share : float
        Part of the near-duplicate groups of each remaining source that validates, 0 … 1.
    seed : int
        Decides which.
    measured : int
        Harmonised tensors of each picture that are tested, at most: more of one picture say little more.

    Returns
    -------
    FoldParts
        Every variant is in one part, or in none where its group touches the test part.

    Raises
    ------
    TrainingError
        If a source that is to be left out has no variant.
    """
    left_out = set() if fold is None else {*fold.fake_sources, fold.real_source}
    if missing := sorted(left_out - {v.source for v in variants}):
        msg = f"leave_one_source_out: no usable picture of source {', '.join(missing)}; correct settings or data"
        raise TrainingError(msg)
    test = [v for v in variants if v.source in left_out and v.is_given]
    touched = {v.group for v in test}
    rest = [v for v in variants if v.group not in touched and v.source not in left_out]
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for source in sorted({v.source for v in rest}):
        groups = sorted({v.group for v in rest if v.source == source} - held)
        held.update(str(g) for g in rng.permutation(groups)[: round(share * len(groups))])
    apart = held | touched  # a swap whose second person is in another part would carry that face over
    train = [v for v in rest if v.group not in held and v.partner_group not in apart]
    validation = [v for v in rest if v.group in held and v.is_given]
    return FoldParts(train, validation, _thinned(test, measured, rng))


def _thinned(variants: list[Variant], most: int, rng: np.random.Generator) -> list[Variant]:
    """Keep originals and, of each picture, so many harmonised tensors."""
    order = [variants[int(k)] for k in rng.permutation(len(variants))]
    seen: dict[str, int] = {}
    kept = set()
    for variant in order:
        seen[variant.sha256] = seen.get(variant.sha256, 0) + (variant.kind != ORIGINAL)
        if variant.kind == ORIGINAL or seen[variant.sha256] <= most:
            kept.add((variant.file, variant.row))
    return [v for v in variants if (v.file, v.row) in kept]
