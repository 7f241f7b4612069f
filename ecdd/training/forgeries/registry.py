"""All generators by name, with one signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ecdd.errors import EcddError
from ecdd.training.forgeries import face_swap, generated, latent_resampling, part_composite, self_blended, upsampling
from ecdd.training.forgeries.forgery import FacePicture, Forgery
from ecdd.training.harmonise import is_grey

if TYPE_CHECKING:
    from ecdd.training.forgeries.resynthesis import FaceAutoencoder

Make = Callable[[FacePicture, int, FacePicture | None], Forgery]


class UnknownGeneratorError(EcddError):
    """No generator of this name; the message lists those that there are."""


@dataclass(frozen=True)
class Generator:
    """One way to forge.

    Attributes
    ----------
    name : str
        Of the generator, as it stands in every `Forgery` it makes.
    about : str
        One line.
    make : callable
        ``make(source, seed, partner)``; to be called by `forge`.
    needs_partner : bool
        A second person is needed; other generators are given None.
    keeps_picture : bool
        The source's picture is forged; otherwise a picture of its own is made, whatever the source is.
    """

    name: str
    about: str
    make: Make
    needs_partner: bool = False
    keeps_picture: bool = True


def _self_blended(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:  # noqa: ARG001
    return self_blended.self_blend(source.picture, source.face.landmarks, seed)


def _face_swap(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:
    if partner is None:
        raise ValueError("face_swap needs a partner: a picture of another person")
    return face_swap.swap_face(source, seed, partner)


def _part_composite(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:
    if partner is None:
        raise ValueError("part_composite needs a partner: a picture of another person")
    return part_composite.composite_parts(source, seed, partner)


def _resynthesis(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:  # noqa: ARG001
    from ecdd.training.forgeries.resynthesis import resynthesise

    return resynthesise(source.picture, source.face.landmarks, _autoencoder(), seed)


def _generated(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:  # noqa: ARG001
    return generated.generate_face(_statistics(), seed)


def _latent_resampling(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:  # noqa: ARG001
    return latent_resampling.resample_latent(source, seed)


def _upsampling(source: FacePicture, seed: int, partner: FacePicture | None) -> Forgery:  # noqa: ARG001
    return upsampling.leave_upsampling_traces(source, seed)


@lru_cache(maxsize=1)
def _autoencoder() -> FaceAutoencoder:
    from ecdd.training.forgeries.resynthesis import load_autoencoder

    return load_autoencoder()


@lru_cache(maxsize=1)
def _statistics() -> generated.FaceStatistics:
    return generated.load_statistics()


GENERATORS: Mapping[str, Generator] = {
    generator.name: generator
    for generator in (
        Generator(self_blended.NAME, "an altered copy of the face blended into itself", _self_blended),
        Generator(face_swap.NAME, "another person's face laid on by a mesh", _face_swap, needs_partner=True),
        Generator(part_composite.NAME, "eyes, nose or mouth of another person", _part_composite, needs_partner=True),
        Generator("resynthesis", "the face through an up-sampling autoencoder", _resynthesis),
        Generator(generated.NAME, "a face drawn from the statistics of many", _generated, keeps_picture=False),
        Generator(latent_resampling.NAME, "coded small, noised and denoised, decoded", _latent_resampling),
        Generator(upsampling.NAME, "traces of up-sampling with drawn kernels", _upsampling),
    )
}


def forge(name: str, source: FacePicture, seed: int, partner: FacePicture | None = None) -> Forgery:
    """Make one forgery.

    Parameters
    ----------
    name : str
        A key of `GENERATORS`.
    source : FacePicture
        What is forged.
    seed : int
        >= 0; with the other arguments it decides every bit.
    partner : FacePicture, optional
        Another person, for the generators that need one.

    Returns
    -------
    Forgery
        A picture without colour stays one: colour on it would tell the class, and is nothing to learn.

    Raises
    ------
    ForgeryRefused
        This face cannot be forged this way.
    UnknownGeneratorError
        No such generator.
    """
    chosen = find_generator(name)
    forgery = chosen.make(source, seed, partner)
    if not (chosen.keeps_picture and is_grey(Image.fromarray(source.picture))):
        return forgery
    luma = np.asarray(Image.fromarray(forgery.picture).convert("L"))[..., None]
    picture = np.where(forgery.mask[..., None] > 0, luma, forgery.picture)
    return replace(forgery, picture=picture)


def find_generator(name: str) -> Generator:
    """The generator of a name.

    Raises
    ------
    UnknownGeneratorError
        Naming those that there are.
    """
    if name not in GENERATORS:
        raise UnknownGeneratorError(f"generator {name!r} is unknown; there are {', '.join(GENERATORS)}")
    return GENERATORS[name]
