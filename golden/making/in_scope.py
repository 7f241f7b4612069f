"""In-scope faces: 15 real ones, most of them kept byte for byte as their packages ship them, and 15 forged ones.

Forgeries are made from real golden pictures whose licence allows changes without any condition, or from nothing.
Portraits of the White House are shown as they are and never forged. No picture shows one person's face on another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from PIL import Image

from ecdd.training.forgeries.generated import generate_face
from ecdd.training.forgeries.self_blended import self_blend
from golden.making.recipe import OWN_LICENCE, Recipe, Workshop, jpeg, pixels, png

_WHITE_HOUSE: Final = (
    "public domain (work of the US government)",
    "official White House photograph by Pete Souza, taken by a federal employee on duty (17 U.S.C. 105); the "
    "file's own EXIF and IPTC fields name photographer, office and date, and ask that the picture is not manipulated: "
    "it is kept byte for byte and nothing is made from it",
)
_FACE_RECOGNITION: Final = "face-recognition 1.3.0 (sdist): tests/test_images/"
_OATH: Final = (
    "CC0-1.0 (work of the US government)",
    "the package's LICENSE.md puts everything but its fonts, icons and CSS resets into the public domain in the US and "
    "under CC0 1.0 elsewhere; the hero photograph is none of those",
)
_NASA: Final = (
    "public domain (NASA)",
    "skimage.data.astronaut: from the NASA Great Images database, no known copyright restrictions, released into the "
    "public domain",
)
_NAVY: Final = (
    "public domain (work of the US government)",
    "official portrait of Commodore Grace M. Hopper by the US Navy (James S. Davis, 1984), taken on duty "
    "(17 U.S.C. 105)",
)
_AUTHOR: Final = (
    "MIT",
    "portrait of the package's author and copyright holder, shipped by him as demonstration data under the package's "
    "MIT licence",
)
_VARSHNEY: Final = ("CC0-1.0", "skimage.data.camera: no copyright restrictions, CC0 by the photographer (Lav Varshney)")
_OBAMA: Final = "Barack Obama"
_SKIMAGE: Final = "scikit-image 0.26.0 (wheel): skimage/data/"
_MATPLOTLIB: Final = "matplotlib 3.11.2 (wheel): matplotlib/mpl-data/sample_data/"
_MAHOTAS: Final = "mahotas 1.4.13 (sdist): mahotas/demos/data/"
_TOO_SOFT: Final = ("GR-004",)
_TOO_SMALL: Final = ("GR-003",)
# left, top, right, bottom in the group photograph, pixels; each box holds one person's face
_OATH_BOXES: Final = {
    "a": (0, 90, 330, 500),
    "b": (350, 90, 650, 520),
    "c": (610, 120, 900, 540),
    "d": (860, 140, 1110, 520),
    "e": (1150, 120, 1400, 540),
    "f": (1380, 80, 1612, 520),
    "g": (1690, 130, 1850, 420),
}
_OATH_PNG: Final = ("c", "e", "g")


def _kept(
    name: str,
    suffix: str,
    person: str,
    photograph: str,
    origin: str,
    licence: tuple[str, str],
    codes: tuple[str, ...] = (),
) -> Recipe:
    return Recipe(
        name=f"real_{name}",
        set="in_scope",
        suffix=suffix,
        category="photograph",
        licence=licence,
        origin=origin,
        label="real",
        make=None,
        outcome="abstain" if codes else "reaches_model",
        reason_codes=codes,
        photograph=photograph,
        people=(person,),
    )


def _kept_photographs() -> list[Recipe]:
    souza = "Official White House Photo by Pete Souza, "
    collins, hopper = "NASA portrait of Eileen Collins", "US Navy portrait of Grace Hopper"
    coelho, camera = "portrait of Luis Pedro Coelho", "photograph by Lav Varshney"
    may = souza + "10 May 2010"
    return [
        _kept("collins", "png", "Eileen Collins", collins, _SKIMAGE + "astronaut.png", _NASA),
        _kept("hopper", "jpg", "Grace Hopper", hopper, _MATPLOTLIB + "grace_hopper.jpg", _NAVY),
        _kept("obama_2012", "jpg", _OBAMA, souza + "6 December 2012", _FACE_RECOGNITION + "obama.jpg", _WHITE_HOUSE),
        _kept("obama_2009", "jpg", _OBAMA, souza + "9 September 2009", _FACE_RECOGNITION + "obama2.jpg", _WHITE_HOUSE),
        _kept("obama_2010", "jpg", _OBAMA, may, _FACE_RECOGNITION + "obama3.jpg", _WHITE_HOUSE),
        _kept("biden_2010", "jpg", "Joe Biden", may, _FACE_RECOGNITION + "biden.jpg", _WHITE_HOUSE),
        _kept("coelho", "jpg", "Luis Pedro Coelho", coelho, _MAHOTAS + "luispedro.jpg", _AUTHOR),
        _kept("photographer", "png", "unnamed photographer", camera, _SKIMAGE + "camera.png", _VARSHNEY, _TOO_SMALL),
    ]


def _oath_picture(box: tuple[int, int, int, int], lossless: bool, shop: Workshop) -> bytes:
    part = shop.image("sources/oath.jpg").crop(box)
    return png(part) if lossless else jpeg(part, 95)


def _oath_photographs() -> list[Recipe]:
    """One person each, cut out of one group photograph without any resampling."""
    return [
        Recipe(
            name=f"real_oath_{key}",
            set="in_scope",
            suffix="png" if key in _OATH_PNG else "jpg",
            category="photograph",
            licence=_OATH,
            origin="@uswds/uswds 3.14.0 (npm): dist/img/hero.jpg",
            label="real",
            make=partial(_oath_picture, box, key in _OATH_PNG),
            outcome="reaches_model" if key == "a" else "abstain",
            reason_codes=() if key == "a" else _TOO_SOFT,
            generator="crop",
            parameters={"box": list(box), "encoding": "PNG" if key in _OATH_PNG else "JPEG quality 95 4:2:0"},
            derived_from=("sources/oath.jpg",),
            photograph="hero photograph of the U.S. Web Design System",
            people=(f"unnamed person {key} taking the oath",),
        )
        for key, box in _OATH_BOXES.items()
    ]


Encoder = Callable[[Image.Image], bytes]
_ENCODERS: Final[dict[str, tuple[str, Encoder]]] = {
    "JPEG quality 92 4:2:0": ("jpg", lambda image: jpeg(image, 92)),
    "JPEG quality 95 4:4:4": ("jpg", lambda image: jpeg(image, 95, "4:4:4")),
    "PNG": ("png", png),
}


def _self_blended(source: str, seed: int, encoding: str, shop: Workshop) -> bytes:
    image = shop.image(source)
    return _ENCODERS[encoding][1](Image.fromarray(self_blend(pixels(image), shop.face(image).landmarks, seed).picture))


def _resynthesised(source: str, seed: int, encoding: str, shop: Workshop) -> bytes:
    from ecdd.training.forgeries.resynthesis import resynthesise

    image = shop.image(source)
    forged = resynthesise(pixels(image), shop.face(image).landmarks, shop.autoencoder, seed)
    return _ENCODERS[encoding][1](Image.fromarray(forged.picture))


def _generated(box: tuple[int, int, int, int], seed: int, encoding: str, shop: Workshop) -> bytes:
    face = Image.fromarray(generate_face(shop.statistics, seed).picture)
    return _ENCODERS[encoding][1](face.crop(box))


# source, seed, encoding, codes
_ForgeryRow = tuple[str, int, str, tuple[str, ...]]
_BLENDED: Final[tuple[_ForgeryRow, ...]] = (
    ("collins", 101, "PNG", ()),
    ("hopper", 102, "JPEG quality 92 4:2:0", ()),
    ("coelho", 103, "JPEG quality 95 4:4:4", ()),
    ("oath_a", 104, "JPEG quality 92 4:2:0", ()),
    ("oath_e", 105, "PNG", _TOO_SOFT),
)
_RESYNTHESISED: Final[tuple[_ForgeryRow, ...]] = (
    ("collins", 201, "JPEG quality 95 4:4:4", ()),
    ("hopper", 202, "PNG", ()),
    ("coelho", 203, "JPEG quality 92 4:2:0", ()),
    ("oath_a", 204, "PNG", ()),
    ("oath_b", 205, "JPEG quality 92 4:2:0", _TOO_SOFT),
)
# crop (left, top, right, bottom), seed, encoding: not all square
_GENERATED: Final[tuple[tuple[tuple[int, int, int, int], int, str, tuple[str, ...]], ...]] = (
    ((0, 0, 512, 512), 0, "JPEG quality 92 4:2:0", ()),
    ((40, 0, 472, 512), 4, "PNG", ()),
    ((0, 30, 512, 480), 8, "JPEG quality 95 4:4:4", ()),
    ((30, 10, 490, 512), 9, "JPEG quality 92 4:2:0", ()),
    ((0, 0, 500, 470), 17, "JPEG quality 92 4:2:0", ()),
)


def _forgery(source: str, seed: int, encoding: str, codes: tuple[str, ...], kind: str) -> Recipe:
    """A forgery of a real golden picture."""
    make = _self_blended if kind == "self_blended" else _resynthesised
    return Recipe(
        name=f"fake_{kind}_{source}",
        set="in_scope",
        suffix=_ENCODERS[encoding][0],
        category="forgery",
        licence=OWN_LICENCE,
        origin="generated",
        label="fake",
        make=partial(make, f"real_{source}", seed, encoding),
        outcome="abstain" if codes else "reaches_model",
        reason_codes=codes,
        generator=kind,
        seed=seed,
        parameters={"encoding": encoding},
        derived_from=(f"real_{source}",),
    )


def recipes() -> list[Recipe]:
    """Recipes of the 30 pictures in scope, sources before what is made from them."""
    drawn = [
        Recipe(
            name=f"fake_generated_{seed:02d}",
            set="in_scope",
            suffix=_ENCODERS[encoding][0],
            category="forgery",
            licence=OWN_LICENCE,
            origin="generated",
            label="fake",
            make=partial(_generated, box, seed, encoding),
            outcome="abstain" if codes else "reaches_model",
            reason_codes=codes,
            generator="generated",
            seed=seed,
            parameters={"encoding": encoding, "crop": list(box)},
            people=(f"nobody {seed:02d}",),
        )
        for box, seed, encoding, codes in _GENERATED
    ]
    return [
        *_kept_photographs(),
        *_oath_photographs(),
        *(_forgery(*row, "self_blended") for row in _BLENDED),
        *(_forgery(*row, "resynthesis") for row in _RESYNTHESISED),
        *drawn,
    ]
