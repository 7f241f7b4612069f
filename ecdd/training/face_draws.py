"""Draw faces for fine-tuning: classes equal, sources by the root of their size, fakes beside their originals."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from ecdd.pipeline.face import Face
from ecdd.pipeline.preprocess import normalise
from ecdd.training.batches import Batch
from ecdd.training.config import DegradationRanges, DrawShares, TrainingError
from ecdd.training.degradations import degrade, harmonise
from ecdd.training.face_regions import FaceRegion
from ecdd.training.forgeries import part_composite, self_blended
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.pixel_sections import PixelPipeline

MEASURED_SIDE: Final = (104, 180)  # px; harmonised crops: every face that is measured can be reduced to all of it
MEASURED_NATIVE: Final = 188


@dataclass(frozen=True)
class Drawn:
    """One picture of a batch.

    Attributes
    ----------
    region : FaceRegion
        What it is made of.
    label : int
        1 fake, 0 real.
    forged : str
        What a real face is to be turned into first: blended into itself, given parts of another's; empty for nothing.
    seed : int
        Of its degradation; twins share it.
    """

    region: FaceRegion
    label: int
    forged: str
    seed: int


class FaceDraws:
    """Batches of degraded faces; what is drawn depends on seed, epoch and place in the epoch only.

    Parameters
    ----------
    regions : sequence of FaceRegion
        Of both classes, all allowed for training.
    pixels : PixelPipeline
        Size and normalisation.
    ranges : DegradationRanges
        What is done to every picture.
    shares : DrawShares
        How often fakes are made of reals, and which sources are drawn more often.
    seed : int
        Of everything.

    Raises
    ------
    TrainingError
        If a class is missing, or a source that is to weigh more.
    """

    def __init__(
        self,
        regions: Sequence[FaceRegion],
        pixels: PixelPipeline,
        ranges: DegradationRanges,
        shares: DrawShares,
        seed: int,
    ) -> None:
        self.regions = sorted(regions, key=lambda region: (region.sha256, region.generator, region.label))
        self.pixels, self.ranges, self.shares, self.seed = pixels, ranges, shares, seed
        self._sources: tuple[dict[str, list[FaceRegion]], dict[str, list[FaceRegion]]] = (
            defaultdict(list),
            defaultdict(list),
        )
        self._originals: dict[str, FaceRegion] = {}
        for region in self.regions:
            if region.label or not region.generator:
                self._sources[region.label][region.family_source].append(region)
            if not region.label:
                self._originals[f"{region.generator}:{region.sha256}" if region.generator else region.pair] = region
        self._originals.pop("", None)
        for label, name in enumerate(("real", "fake")):
            if not self._sources[label]:
                msg = f"no {name} face to train on; check --data and what is left out"
                raise TrainingError(msg)
        if unknown := sorted(set(shares.source_weights) - {name for known in self._sources for name in known}):
            msg = f"source_weights: no face of source {', '.join(unknown)} is trained on; correct settings or data"
            raise TrainingError(msg)

    def batch(self, size: int, crop: int, place: tuple[int, int]) -> Batch:
        """Make a batch.

        Parameters
        ----------
        size : int
            Pictures, even: half of them fake.
        crop : int
            Side of the part of S4 that is given, px.
        place : tuple of int
            Epoch and first draw of the batch in it.

        Returns
        -------
        Batch
            Without masks.
        """
        rng = np.random.default_rng([self.seed, *place])
        drawn = self._draw(size, rng)
        tensors = np.empty((len(drawn), crop, crop, 3), np.float32)
        for k, one in enumerate(drawn):
            s3 = self._made(one)
            y, x = rng.integers((self.pixels.input_size - crop) // 2 + 1, size=2) * 2
            tensors[k] = normalise(np.ascontiguousarray(s3[y : y + crop, x : x + crop]), self.pixels)
        return Batch(
            torch.from_numpy(tensors).permute(0, 3, 1, 2),
            torch.tensor([float(one.label) for one in drawn]),
            torch.zeros(len(drawn), 1, 1),
            torch.zeros(len(drawn), dtype=torch.bool),
        )

    def _draw(self, size: int, rng: np.random.Generator) -> list[Drawn]:
        """Draw fakes; each brings its original where it has one, else a real of any source."""
        drawn = []
        for _ in range(size // 2):
            seeds = [int(seed) for seed in rng.integers(2**63, size=2)]
            if forged := self._forged(float(rng.random())):
                real = self._one(0, rng)
                drawn += [Drawn(real, 1, forged, seeds[0]), Drawn(real, 0, "", seeds[0])]
                continue
            region = self._one(1, rng)
            partner = self._originals.get(f"{region.generator}:{region.sha256}" if region.generator else region.pair)
            twin = partner is not None and bool(region.generator)
            real = partner if partner is not None else self._one(0, rng, unpaired=True)
            drawn.append(Drawn(region, 1, "", seeds[0]))
            drawn.append(Drawn(real, 0, "", seeds[0] if twin else seeds[1]))
        return drawn

    def _forged(self, unit: float) -> str:
        if unit < self.shares.blended:
            return self_blended.NAME
        return part_composite.NAME if unit < self.shares.blended + self.shares.composited else ""

    def _one(self, label: int, rng: np.random.Generator, *, unpaired: bool = False) -> FaceRegion:
        sources = self._sources[label]
        names = [name for name in sorted(sources) if not (unpaired and sources[name][0].pair)] or sorted(sources)
        factors = [self.shares.source_weights.get(name, 1.0) for name in names]
        weights = np.sqrt([len(sources[name]) for name in names]) * factors
        source = sources[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        return source[int(rng.integers(len(source)))]

    def _made(self, one: Drawn) -> NDArray[np.uint8]:
        picture = self._forgery(one) if one.forged else one.region.pixels()
        return degrade(picture, one.region.crop, self.pixels, self.ranges, np.random.default_rng(one.seed))

    def _forgery(self, one: Drawn) -> NDArray[np.uint8]:
        """Forge a real face; where the drawn way refuses it, or is none, it is blended into itself."""
        picture, seed = one.region.pixels(), one.seed % 2**32
        target = _face_picture(one.region)
        with contextlib.suppress(ForgeryRefused, ValueError):
            if one.forged == part_composite.NAME:
                return part_composite.composite_parts(target, seed, self._donor(one.region, seed)).picture
            return self_blended.self_blend(picture, target.face.landmarks, seed).picture
        return self_blended.self_blend(picture, _guessed_landmarks(one.region), seed).picture

    def _donor(self, target: FaceRegion, seed: int) -> FacePicture:
        """Draw another real face of the same source, as like in light and compression as there is."""
        others = [one for one in self._sources[0][target.family_source] if one.group != target.group]
        if not others:
            raise ForgeryRefused("no donor", f"source {target.family_source} has one face only")
        return _face_picture(others[int(np.random.default_rng([seed, 1]).integers(len(others)))])


def _face_picture(region: FaceRegion) -> FacePicture:
    crop = region.crop
    box = (float(crop.x0), float(crop.y0), float(crop.x1), float(crop.y1))
    return FacePicture(region.pixels(), Face(box, region.score, region.landmarks or _guessed_landmarks(region)))


@dataclass(frozen=True, eq=False)
class MeasuredFace:
    """S3 of a face that is measured."""

    region: FaceRegion
    tensor: NDArray[np.uint8]

    def s3(self) -> NDArray[np.uint8]:
        """Give S3, uint8, shape (S, S, 3)."""
        return self.tensor


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Faces that are measured, all weighing alike."""

    tensors: list[MeasuredFace]

    def labels(self) -> NDArray[np.int64]:
        """Label of each, shape (n,)."""
        return np.array([face.region.label for face in self.tensors], np.int64)

    def weights(self) -> NDArray[np.float64]:
        """Weight of each, shape (n,): 1."""
        return np.ones(len(self.tensors))


def _guessed_landmarks(region: FaceRegion) -> tuple[tuple[float, float], ...]:
    """Eyes, nose and mouth of an upright face in the middle of its crop, where the detector gave none."""
    crop = region.crop
    side = crop.x1 - crop.x0
    places = ((0.36, 0.42), (0.64, 0.42), (0.5, 0.58), (0.5, 0.72), (0.2, 0.46), (0.8, 0.46))
    return tuple((crop.x0 + x * side, crop.y0 + y * side) for x, y in places)


def measured_tensors(
    regions: Sequence[FaceRegion], pixels: PixelPipeline, kind: str, seed: int
) -> Iterator[MeasuredFace]:
    """Give S3 of every face for measuring.

    Parameters
    ----------
    regions : sequence of FaceRegion
        Faces.
    pixels : PixelPipeline
        Size and kernel of S3.
    kind : str
        ``file``: the file as it is. ``harmonised``: every face reduced to a side drawn from `MEASURED_SIDE` and encoded
        once; faces below `MEASURED_NATIVE` cannot be and are left out.
    seed : int
        Of the harmonising; the same picture is always made alike.

    Yields
    ------
    MeasuredFace
    """
    for region in regions:
        if kind == "file":
            yield MeasuredFace(region, region.s3())
        elif region.native_side >= MEASURED_NATIVE:
            own = int(hashlib.sha256(f"{seed}:{region.sha256}".encode()).hexdigest()[:16], 16)
            rng = np.random.default_rng(own)
            yield MeasuredFace(region, harmonise(region.pixels(), region.crop, pixels, MEASURED_SIDE, rng))
