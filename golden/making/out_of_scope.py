"""Out of scope: 20 pictures without a photographic human face, seven of them made or chosen to resemble one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from PIL import Image, ImageDraw

from golden.making import drawings, renders
from golden.making.recipe import OWN_LICENCE, Recipe, Workshop, jpeg, png, webp

_NO_FACE: Final = ("GR-001",)
_UNSURE: Final = ("GR-002",)
_CC_BY: Final = (
    "CC-BY-2.0",
    "sklearn/datasets/images/README.txt: released under a Creative Commons licence (BY 2.0), photographer named",
)
_RACCOON: Final = (
    "public domain",
    "scipy.misc.face: from public-domain-image.com, in the public domain; the package stores pixels, encoded here once",
)
_COINS: Final = ("public domain", "skimage.data.coins: Brooklyn Museum Collection, no known copyright restrictions")
_SKLEARN: Final = "scikit-learn 1.9.1 (wheel): sklearn/datasets/images/"
_RAW: Final = "scipy 1.9.3 (wheel): scipy/misc/face.dat"
_ENCODE: Final[dict[str, tuple[str, Callable[[Image.Image], bytes]]]] = {
    "JPEG quality 90 4:2:0": ("jpg", lambda image: jpeg(image, 90)),
    "JPEG quality 92 4:4:4": ("jpg", lambda image: jpeg(image, 92, "4:4:4")),
    "PNG": ("png", png),
    "WebP quality 88": ("webp", lambda image: webp(image, quality=88)),
}


def _packaged(
    name: str, suffix: str, category: str, licence: tuple[str, str], origin: str, attribution: str | None = None
) -> Recipe:
    return Recipe(
        name=name,
        set="out_of_scope",
        suffix=suffix,
        category=category,
        licence=licence,
        origin=origin,
        label=None,
        make=None,
        outcome="abstain",
        reason_codes=_NO_FACE,
        photograph=f"{category}: {origin}",
        attribution=attribution,
    )


def _drawn(draw: Callable[[int], Image.Image], seed: int, encoding: str, shop: Workshop) -> bytes:
    del shop
    return _ENCODE[encoding][1](draw(seed))


def _closeup(box: tuple[int, int, int, int], shop: Workshop) -> bytes:
    return jpeg(shop.image("animal_raccoon").crop(box), 92, "4:4:4")


def _macro(shop: Workshop) -> bytes:
    image = shop.image("animal_raccoon").resize((640, 480), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    for y, text in ((46, "ONE DOES NOT SIMPLY"), (436, "SKIP THE GATES")):
        draw.text(
            (320, y), text, fill="white", font=drawings.font(52), anchor="mm", stroke_width=4, stroke_fill="black"
        )
    return jpeg(image, 85)


# drawing, seed, category, encoding, hard negative, codes
_DRAWINGS: Final = (
    (drawings.cartoon_boy, 2, "cartoon", "PNG", True, _UNSURE),
    (drawings.cartoon_cat, 3, "cartoon animal", "JPEG quality 90 4:2:0", True, _NO_FACE),
    (drawings.cartoon_dog, 4, "cartoon animal", "WebP quality 88", True, _UNSURE),
    (drawings.cartoon_snowman, 16, "cartoon", "PNG", True, _UNSURE),
    (renders.marble_bust, 12, "CGI", "JPEG quality 92 4:4:4", True, _UNSURE),
    (renders.plastic_head, 13, "CGI", "PNG", True, _UNSURE),
    (renders.solids, 14, "CGI", "JPEG quality 90 4:2:0", False, _NO_FACE),
    (renders.mountains, 15, "CGI scenery", "JPEG quality 92 4:4:4", False, _NO_FACE),
    (drawings.document_letter, 6, "document", "PNG", False, _NO_FACE),
    (drawings.document_badge, 7, "document", "PNG", False, _NO_FACE),
    (drawings.document_chart, 8, "document", "WebP quality 88", False, _NO_FACE),
    (drawings.meme_emoji, 9, "meme", "PNG", True, _NO_FACE),
    (drawings.screenshot_chat, 10, "screenshot", "PNG", False, _NO_FACE),
    (drawings.screenshot_editor, 11, "screenshot", "JPEG quality 90 4:2:0", False, _NO_FACE),
)
_CLOSEUP: Final = (560, 100, 960, 500)


def recipes() -> list[Recipe]:
    """Recipes of the 20 pictures out of scope, sources before what is made from them."""
    packaged = [
        _packaged("animal_raccoon", "jpg", "animal", _RACCOON, _RAW),
        _packaged(
            "scenery_temple",
            "jpg",
            "scenery",
            _CC_BY,
            _SKLEARN + "china.jpg",
            "photograph by danielbuechele, flickr.com/photos/danielbuechele/6061409035",
        ),
        _packaged(
            "scenery_flower",
            "jpg",
            "scenery",
            _CC_BY,
            _SKLEARN + "flower.jpg",
            "photograph by vultilion, flickr.com/photos/vultilion/6056698931",
        ),
        _packaged("statue_coins", "png", "scenery", _COINS, "scikit-image 0.26.0 (wheel): skimage/data/coins.png"),
    ]
    raccoon: dict[str, Any] = {
        "set": "out_of_scope",
        "suffix": "jpg",
        "licence": _RACCOON,
        "label": None,
        "outcome": "abstain",
    }
    made = [
        Recipe(
            name="animal_raccoon_closeup",
            category="animal",
            origin=_RAW,
            make=partial(_closeup, _CLOSEUP),
            reason_codes=_UNSURE,
            generator="crop",
            parameters={"box": list(_CLOSEUP), "encoding": "JPEG quality 92 4:4:4"},
            derived_from=("animal_raccoon",),
            hard_negative=True,
            **raccoon,
        ),
        Recipe(
            name="meme_raccoon",
            category="meme",
            origin=_RAW,
            make=_macro,
            reason_codes=_NO_FACE,
            generator="caption",
            parameters={"encoding": "JPEG quality 85 4:2:0"},
            derived_from=("animal_raccoon",),
            **raccoon,
        ),
    ]
    drawn = [
        Recipe(
            name=draw.__name__,
            set="out_of_scope",
            suffix=_ENCODE[encoding][0],
            category=category,
            licence=OWN_LICENCE,
            origin="generated",
            label=None,
            make=partial(_drawn, draw, seed, encoding),
            outcome="abstain",
            reason_codes=codes,
            generator=f"{draw.__module__.rsplit('.', 1)[1]}.{draw.__name__}",
            seed=seed,
            parameters={"encoding": encoding},
            hard_negative=hard,
        )
        for draw, seed, category, encoding, hard, codes in _DRAWINGS
    ]
    return [*packaged, *made, *drawn]
