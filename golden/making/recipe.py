"""What a builder needs: the recipe of one golden picture, and a workshop with pictures, landmarks and generators."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.golden.golden_sets import SetName
from ecdd.pipeline.decode import decode
from ecdd.pipeline.face import Face
from ecdd.pipeline.face_detectors import load_detector

if TYPE_CHECKING:
    from ecdd.contract.schema import PolicyContract
    from ecdd.training.forgeries.forgery import Picture
    from ecdd.training.forgeries.generated import FaceStatistics
    from ecdd.training.forgeries.resynthesis import FaceAutoencoder

OWN_LICENCE = ("Apache-2.0", "made by this project's own generator, from nothing or from golden pictures that allow it")


@dataclass(frozen=True)
class Recipe:
    """One golden picture before it has bytes; fields as in ``GoldenItem``.

    ``make`` returns the file's bytes; ``None`` marks a file that is kept as its package ships it.
    """

    name: str
    set: SetName
    suffix: str
    category: str
    licence: tuple[str, str]
    origin: str
    label: str | None
    make: Callable[[Workshop], bytes] | None
    outcome: str = "reaches_model"
    reason_codes: tuple[str, ...] = ()
    generator: str = "none"
    seed: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    derived_from: tuple[str, ...] = ()
    photograph: str | None = None
    people: tuple[str, ...] = ()
    attribution: str | None = None
    hard_negative: bool = False

    @property
    def path(self) -> str:
        """Relative to the golden folder."""
        return f"{self.set}/{self.name}.{self.suffix}"


@dataclass
class Workshop:
    """Golden pictures that are already there, and the tools to make others from them."""

    root: Path
    contract: Path
    paths: dict[str, str]

    @cached_property
    def policy(self) -> PolicyContract:
        """The contract that decodes and finds faces while building."""
        return load_contract(self.contract).policy

    @cached_property
    def autoencoder(self) -> FaceAutoencoder:
        """The packaged re-synthesis network."""
        from ecdd.training.forgeries.resynthesis import load_autoencoder

        return load_autoencoder()

    @cached_property
    def statistics(self) -> FaceStatistics:
        """The packaged face statistics."""
        from ecdd.training.forgeries.generated import load_statistics

        return load_statistics()

    def image(self, name: str) -> Image.Image:
        """S1 of a golden picture (by id) or of a file below ``sources/``."""
        path = self.root / self.paths.get(name, name)
        return decode(path.read_bytes(), self.policy.pixel_pipeline, name=path.name).image

    def face(self, image: Image.Image) -> Face:
        """The surest face of a picture.

        Raises
        ------
        ValueError
            No face.
        """
        faces = load_detector(self.policy.face_detector).detect(image)
        if not faces:
            raise ValueError("no face found in a picture that a forgery is made from; choose another picture")
        return faces[0]


def pixels(image: Image.Image) -> Picture:
    """RGB pixels as uint8 (H, W, 3)."""
    return np.asarray(image.convert("RGB"))


def jpeg(image: Image.Image, quality: int, subsampling: str = "4:2:0", **more: object) -> bytes:
    """Encode as JPEG with optimised Huffman tables, without metadata unless given."""
    stream = io.BytesIO()
    extra = {} if image.mode == "L" else {"subsampling": subsampling}
    image.save(stream, "JPEG", quality=quality, optimize=True, **extra, **more)
    return stream.getvalue()


def png(image: Image.Image, **more: object) -> bytes:
    """Encode as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True, **more)
    return stream.getvalue()


def webp(image: Image.Image, **more: object) -> bytes:
    """Encode as lossless WebP unless ``quality`` is given."""
    stream = io.BytesIO()
    settings = {"lossless": True, "quality": 80, "method": 4, "exact": True} if "quality" not in more else {}
    image.save(stream, "WEBP", **(settings | more))
    return stream.getvalue()
