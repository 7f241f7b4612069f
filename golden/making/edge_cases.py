"""Edge cases: 30 faces in unusual files, sizes, groups, sharpness and colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from golden.making.icc_profile import display_p3
from golden.making.png16 import rgb16
from golden.making.recipe import Recipe, Workshop, jpeg, png, webp

_MIXED: Final = (
    "see the pictures in derived_from",
    "made only from golden pictures, whose licences allow it; each keeps its own",
)
_ORIENTATION: Final = 0x0112
# what to do to upright pixels so that a reader who applies the tag gets them back
_STORED: Final[dict[int, Image.Transpose | None]] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_SMALL: Final = ("GR-003",)
_BLURRY: Final = ("GR-004",)
_COMPRESSED: Final = ("GR-005",)


def _exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[_ORIENTATION] = orientation
    return tags.tobytes()


def _portrait(shop: Workshop) -> Image.Image:
    """The asymmetric picture that most edge cases show: flag left, shuttle right; neither square nor symmetric."""
    return shop.image("real_collins").crop((40, 0, 480, 330))


def _oriented(orientation: int, shop: Workshop) -> bytes:
    image = _portrait(shop)
    change = _STORED[orientation]
    stored = image if change is None else image.transpose(change)
    # lossless, because a JPEG of turned pixels does not decode to the turned picture bit for bit
    encode = png if orientation % 2 else webp
    return encode(stored, exif=_exif(orientation))


def _phone(shop: Workshop) -> bytes:
    """A JPEG that lies on its side with orientation 6, as phones write it.

    Enlarged so that the crop is more than twice the model's input: only there do the shortcuts of fast reduction
    (``draft``, ``reducing_gap``) change pixels, and the golden set must see them.
    """
    image = shop.image("real_hopper")
    large = image.resize((3 * image.width, 3 * image.height), Image.Resampling.LANCZOS)
    return jpeg(large.transpose(Image.Transpose.ROTATE_90), 90, exif=_exif(6))


def _with_alpha(shop: Workshop) -> Image.Image:
    """Transparent corners over loud hidden colour, half transparent lower edge."""
    image = _portrait(shop)
    alpha = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(alpha)
    draw.rounded_rectangle((6, 6, image.width - 20, image.height - 40), 60, fill=255)
    draw.rectangle((60, image.height - 60, image.width - 80, image.height - 10), fill=128)
    hidden = Image.new("RGB", image.size, (255, 0, 200))
    hidden.paste(image, (0, 0), alpha.point(lambda value: 255 if value else 0))
    hidden.putalpha(alpha)
    return hidden


def _sized(side: int, shop: Workshop) -> bytes:
    """The portrait reduced until the detector's box was about ``side`` pixels, on a larger flat wall."""
    image = shop.image("real_hopper")
    face = shop.face(image)
    factor = side / face.side
    small = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    wall = Image.new("RGB", (small.width + 90, small.height + 60), (178, 170, 150))
    wall.paste(small, (20, 60))
    return png(wall)


def _group(names: tuple[str, ...], height: int, quality: int, subsampling: str, shop: Workshop) -> bytes:
    """Head-and-shoulder parts of several golden pictures side by side: each face stays in its own picture."""
    parts = []
    for name in names:
        image = shop.image(name)
        face = shop.face(image)
        x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
        box = (
            max(x - 0.9 * face.side, 0),
            max(y - face.side, 0),
            min(x + 0.9 * face.side, image.width),
            min(y + 1.2 * face.side, image.height),
        )
        width = round((box[2] - box[0]) * height / (box[3] - box[1]))
        parts.append(image.resize((width, height), Image.Resampling.LANCZOS, box=box))
    canvas = Image.new("RGB", (sum(part.width for part in parts), height))
    for k, part in enumerate(parts):
        canvas.paste(part, (sum(before.width for before in parts[:k]), 0))
    return jpeg(canvas, quality, subsampling)


def _blurred(radius: int, shop: Workshop) -> bytes:
    return jpeg(shop.image("real_hopper").filter(ImageFilter.GaussianBlur(radius)), 92)


def _compressed(quality: int, shop: Workshop) -> bytes:
    return jpeg(shop.image("real_hopper"), quality)


def _chained(chain: tuple[tuple[float, Image.Resampling], ...], shop: Workshop) -> bytes:
    image = shop.image("real_hopper").crop((40, 30, 500, 560))
    width, height = image.size
    for factor, kernel in chain:
        image = image.resize((round(width * factor), round(height * factor)), kernel)
    return jpeg(image, 92, "4:4:4")


def _wide_gamut(shop: Workshop) -> bytes:
    return jpeg(_portrait(shop), 92, "4:4:4", icc_profile=display_p3())


def _cmyk(shop: Workshop) -> bytes:
    stream = io.BytesIO()
    _portrait(shop).convert("CMYK").save(stream, "JPEG", quality=92, optimize=True)
    return stream.getvalue()


def _grey(shop: Workshop) -> bytes:
    return jpeg(_portrait(shop).convert("L"), 92)


def _palette(shop: Workshop) -> bytes:
    return png(_portrait(shop).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG))


def _sixteen_bit(shop: Workshop) -> bytes:
    """16 bits a channel with real content in the low byte: a reduction computed in float."""
    image = shop.image("real_hopper")
    size = (round(0.6 * image.width), round(0.6 * image.height))
    planes = [plane.convert("F").resize(size, Image.Resampling.BICUBIC) for plane in image.split()]
    values = np.stack([np.asarray(plane, dtype=np.float64) for plane in planes], axis=2) * 257
    return rgb16(np.clip(np.rint(values), 0, 65535).astype(np.uint16))


def _edge(
    name: str,
    suffix: str,
    category: str,
    make: Callable[[Workshop], bytes],
    sources: tuple[str, ...],
    **more: Any,  # noqa: ANN401 - other fields of Recipe
) -> Recipe:
    codes = more.get("reason_codes", ())
    settings = {"label": "real", "outcome": "abstain" if codes else "reaches_model", "generator": category} | more
    return Recipe(
        name=name,
        set="edge_cases",
        suffix=suffix,
        category=category,
        licence=_MIXED,
        origin="generated",
        make=make,
        derived_from=sources,
        **settings,
    )


_COLLINS: Final = ("real_collins",)
_HOPPER: Final = ("real_hopper",)
_L, _B, _N = Image.Resampling.LANCZOS, Image.Resampling.BILINEAR, Image.Resampling.NEAREST
_CHAINS: Final = {2: ((0.4, _B), (1.0, _L)), 3: ((0.6, _L), (0.45, _B), (0.8, _N))}
# people, height, JPEG quality, chroma, label: a group is fake when one of its faces is
_GROUPS: Final = (
    ("group_2", ("real_hopper", "real_collins"), 320, 92, "4:2:0", "real", ()),
    ("group_3_one_fake", ("real_coelho", "fake_generated_00", "real_hopper"), 360, 92, "4:4:4", "fake", ()),
    ("group_4", ("real_hopper", "real_coelho", "real_oath_a", "real_collins"), 300, 93, "4:2:0", "real", ()),
)


def recipes() -> list[Recipe]:
    """Recipes of the 30 edge cases."""
    oriented = [
        _edge(
            f"exif_orientation_{k}",
            "png" if k % 2 else "webp",
            "exif orientation",
            partial(_oriented, k),
            _COLLINS,
            parameters={"orientation": k},
        )
        for k in _STORED
    ]
    groups = [
        _edge(
            name,
            "jpg",
            "group",
            partial(_group, names, height, quality, chroma),
            names,
            label=label,
            parameters={"height": height, "quality": quality, "chroma": chroma, "faces": len(names)},
            reason_codes=codes,
        )
        for name, names, height, quality, chroma, label, codes in _GROUPS
    ]
    return [
        *oriented,
        _edge(
            "exif_phone_jpeg",
            "jpg",
            "exif orientation",
            _phone,
            _HOPPER,
            parameters={"orientation": 6, "quality": 90, "factor": 3},
        ),
        _edge("alpha_png", "png", "alpha", lambda shop: png(_with_alpha(shop)), _COLLINS),
        _edge("alpha_webp", "webp", "alpha", lambda shop: webp(_with_alpha(shop)), _COLLINS),
        *(
            _edge(
                f"jpeg_quality_{q}",
                "jpg",
                "compression",
                partial(_compressed, q),
                _HOPPER,
                parameters={"quality": q},
                reason_codes=_COMPRESSED if q < 30 else (),
            )
            for q in (15, 25, 35)
        ),
        *(
            _edge(
                f"face_{side}_px",
                "png",
                "small face",
                partial(_sized, side),
                _HOPPER,
                parameters={"side": side},
                reason_codes=_SMALL,
            )
            for side in (32, 48, 64)
        ),
        *groups,
        *(
            _edge(
                f"blur_radius_{radius}",
                "jpg",
                "blur",
                partial(_blurred, radius),
                _HOPPER,
                parameters={"radius": radius},
                reason_codes=_BLURRY,
            )
            for radius in (2, 4, 8)
        ),
        *(
            _edge(
                f"resize_chain_{count}",
                "jpg",
                "resize chain",
                partial(_chained, chain),
                _HOPPER,
                parameters={
                    "factors": [str(factor) for factor, _ in chain],
                    "kernels": [kernel.name for _, kernel in chain],
                },
            )
            for count, chain in _CHAINS.items()
        ),
        _edge(
            "colour_display_p3",
            "jpg",
            "colour",
            _wide_gamut,
            _COLLINS,
            parameters={"profile": "Display P3 primaries, sRGB curve"},
        ),
        _edge("colour_cmyk", "jpg", "colour", _cmyk, _COLLINS),
        _edge("colour_grey", "jpg", "colour", _grey, _COLLINS),
        _edge("colour_palette", "png", "colour", _palette, _COLLINS, parameters={"colours": 256}),
        _edge("colour_sixteen_bit", "png", "colour", _sixteen_bit, _HOPPER),
    ]
