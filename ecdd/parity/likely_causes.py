"""Why a stage moved: known mistakes are made again on the golden pictures; the one that gives the same numbers wins.

Nothing is guessed from the size of a deviation. A mistake is named when making it here explains at least
`EXPLAINED` of the movement; otherwise the stage alone is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from PIL import Image

from ecdd.contract.pixel_sections import PixelPipeline
from ecdd.inference.decision import decide
from ecdd.inference.pooling import RULES
from ecdd.parity.device_judging import Compared, map_of
from ecdd.pipeline.preprocess import CropBox, cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.parity.device_dump import Dump
    from ecdd.parity.device_reference import Reference

    Array = NDArray[Any]

Kind = Literal[
    "kernel", "range", "order", "orientation", "layout", "rounding", "crop", "decoder", "colour", "sign", "pooling",
    "calibration", "threshold", "face finder", "file", "unknown",
]  # fmt: skip
EXPLAINED: Final = 0.9
SAME: Final = 1e-3  # two mistakes that explain so nearly the same share cannot be told apart
MOST_SAMPLES: Final = 4  # faces that a mistake is made again on
CHANNELS: Final = {"BGR": (2, 1, 0), "GRB": (1, 0, 2), "RBG": (0, 2, 1), "GBR": (1, 2, 0), "BRG": (2, 0, 1)}
# what a decoder's note of a picture would explain where exactly the pictures that have it move
_NOTES: Final[tuple[tuple[str, Kind, str], ...]] = (
    ("turned", "orientation", "the EXIF orientation is not applied, or applied twice"),
    ("alpha_composited", "colour", "transparency is not composited over the contract's background"),
    ("icc_ignored", "colour", "the colour profile is handled by another policy"),
    ("sixteen_bit", "colour", "16 bits a channel become 8 in another way"),
    ("cmyk", "colour", "CMYK becomes RGB in another way"),
    ("jpeg", "decoder", "another JPEG decoder, or other options of it (IDCT, chroma enlargement)"),
)


@dataclass(frozen=True)
class Cause:
    """The likely cause of a movement.

    Attributes
    ----------
    kind : str
        One of `Kind`.
    what : str
        The mistake, for a reader.
    explained : float
        Share of the movement that making the mistake here reproduces; 0 where it was told by other signs.
    """

    kind: Kind
    what: str
    explained: float = 0.0


Attempt = tuple[Kind, str, Any]


def likely_cause(
    stage: str, compared: Sequence[Compared], moved: Sequence[Compared], found: tuple[Dump, Reference]
) -> Cause:
    """Name the likely cause of a stage's movement.

    Parameters
    ----------
    stage : str
        The first stage that moves.
    compared, moved : sequence of Compared
        All comparisons, and those of this stage beyond the limit.
    found : tuple of Dump and Reference
        What was compared.

    Returns
    -------
    Cause
        Kind ``"unknown"`` where no known mistake gives these numbers.
    """
    dump, reference = found
    ranked = sorted(moved, key=lambda one: -one.moved)
    # from the most to the least moved: enlarged crops move most, and some mistakes differ on reduced ones alone
    samples = [ranked[k] for k in np.linspace(0, len(ranked) - 1, MOST_SAMPLES).astype(int)]
    if stage == "S0":
        return Cause("file", "other bytes: the file was encoded again, cut or stripped of metadata on the way")
    if stage == "S1":
        return _of_pixels(compared, moved, dump, reference)
    if stage == "S2":
        return _of_faces(samples, reference)
    attempts = {"S3": _resizes, "S4": _normalisations, "S5": _maps, "S6": _poolings, "S7": _probabilities}
    if stage == "S8":
        return _of_decisions(moved, dump, reference)
    if any(np.shape(one.got) != np.shape(one.want) for one in samples):
        one = samples[0]
        return Cause("layout", f"shape {np.shape(one.got)} in place of {np.shape(one.want)}")
    ways = [list(attempts[stage](one, dump, reference)) for one in samples]
    return _best(ways, samples)


def _best(ways: Sequence[Sequence[Attempt]], samples: Sequence[Compared]) -> Cause:
    """The mistake that explains most, over all samples together."""
    found: dict[tuple[Kind, str], list[float]] = {}
    for attempts, one in zip(ways, samples, strict=True):
        for kind, what, value in attempts:
            found.setdefault((kind, what), []).append(_explained(one, value))
    means = {key: float(np.mean(shares)) for key, shares in found.items() if len(shares) == len(samples)}
    most = max(means.values(), default=0.0)
    if most < EXPLAINED:
        return Cause("unknown", "none of the known mistakes gives these numbers")
    # several may give the same: a box and the nearest pixel, where a crop is enlarged
    kinds, whats = zip(*(key for key, share in means.items() if most - share < SAME), strict=True)
    return Cause(kinds[0], " or ".join(whats[:3]), round(most, 4))


def _explained(one: Compared, value: Any) -> float:  # noqa: ANN401 - an array or a number
    """1 where the mistake gives exactly the dump's numbers, 0 where it is no nearer to them than what is right."""
    if value is None or np.shape(value) != np.shape(one.got):
        return 0.0
    got, want, made = (np.asarray(part, np.float64) for part in (one.got, one.want, value))
    whole = np.abs(got - want).mean()
    if not np.isfinite(whole):
        return 0.0
    return float(max(1 - np.abs(got - made).mean() / max(whole, 1e-12), 0.0))


def _turned(values: Array) -> Iterator[tuple[str, Array]]:
    """The seven other ways to lay rows and columns."""
    for name, turned in (("", values), ("transposed, ", values.swapaxes(0, 1))):
        for flips, view in (
            ("as they are", turned),
            ("mirrored", turned[:, ::-1]),
            ("upside down", turned[::-1]),
            ("half a turn", turned[::-1, ::-1]),
        ):
            if name or flips != "as they are":
                yield name + flips, view


def _of_pixels(compared: Sequence[Compared], moved: Sequence[Compared], dump: Dump, reference: Reference) -> Cause:
    """S1: by its pixels where the dump holds them, else by which pictures move."""
    samples: list[Compared] = []
    ways: list[list[Attempt]] = []
    for one in moved[:MOST_SAMPLES]:
        pixels, decoded = dump.of(one.picture, "S1"), reference.decoded(one.picture)
        if pixels is None or decoded is None:
            continue
        want = np.asarray(decoded.image)
        ways.append([
            *(("order", f"channels in the order {n}", want[..., list(c)]) for n, c in CHANNELS.items()),
            *(("orientation", "rows and columns lie another way: EXIF orientation", v) for _, v in _turned(want)
              if v.shape == pixels.shape),
        ])  # fmt: skip
        if pixels.shape != want.shape:
            return Cause("orientation", f"{one.picture} is {pixels.shape[1]}x{pixels.shape[0]}: not turned by its tag")
        samples.append(Compared("S1", one.picture, None, 1.0, pixels, want))
    best = _best_of_any(ways, samples) if samples else Cause("unknown", "")
    if best.kind != "unknown":
        return best
    by_order = _order_of_s3(moved, dump, reference)
    return by_order or _by_notes(compared, moved, reference)


def _best_of_any(ways: Sequence[Sequence[Attempt]], samples: Sequence[Compared]) -> Cause:
    """As `_best`, where several ways have one name: of each picture the way that explains most."""
    kept = []
    for attempts, one in zip(ways, samples, strict=True):
        best: dict[tuple[Kind, str], tuple[float, Any]] = {}
        for kind, what, value in attempts:
            share = _explained(one, value)
            if share >= best.get((kind, what), (-1.0, None))[0]:
                best[kind, what] = (share, value)
        kept.append([(kind, what, value) for (kind, what), (_, value) in best.items()])
    return _best(kept, samples)


def _order_of_s3(moved: Sequence[Compared], dump: Dump, reference: Reference) -> Cause | None:
    """Channels in another order show in S3 too, where S1's pixels are not dumped."""
    for one in moved[:MOST_SAMPLES]:
        got, want = dump.of(one.picture, "S3", 0), reference.dump.of(one.picture, "S3", 0)
        if got is None or want is None or got.shape != want.shape:
            continue
        sample = Compared("S3", one.picture, 0, 1.0, got, want)
        ways: list[Attempt] = [("order", f"channels in the order {n}", want[..., list(c)]) for n, c in CHANNELS.items()]
        if (cause := _best([ways], [sample])).kind != "unknown":
            return cause
    return None


def _by_notes(compared: Sequence[Compared], moved: Sequence[Compared], reference: Reference) -> Cause:
    """Which property all moved pictures share that few others have."""
    seen = [one.picture for one in compared if one.stage == "S1"]
    having: dict[str, set[str]] = {name: set() for name, _, _ in _NOTES}
    for picture in seen:
        decoded = reference.decoded(picture)
        if decoded is None:
            continue
        notes = {*decoded.notes} | ({"turned"} if decoded.orientation != 1 else set())
        notes |= {"jpeg"} if decoded.format == "JPEG" else set()
        for name in having.keys() & notes:
            having[name].add(picture)
    wanted = {one.picture for one in moved}
    fitting = [(len(having[name]), kind, what) for name, kind, what in _NOTES if wanted <= having[name]]
    if fitting:
        _, kind, what = min(fitting, key=lambda one: one[0])
        return Cause(kind, what)
    text = f"{len(wanted)} of {len(seen)} pictures, of no common mark, are decoded otherwise: another decoder"
    return Cause("decoder", text)


def _of_faces(samples: Sequence[Compared], reference: Reference) -> Cause:
    one = samples[0]
    if isinstance(one.got, int):
        return Cause(
            "face finder", f"{one.picture}: {one.got} faces in place of {one.want}: other weights or threshold"
        )
    got, want = np.array(one.got.box), np.array(one.want.box)
    if np.abs(got[[1, 0, 3, 2]] - want).max() <= reference.policy.face_detector.tolerance_box:
        return Cause("order", "boxes are y0, x0, y1, x1 in place of x0, y0, x1, y1")
    decoded = reference.decoded(one.picture)
    if decoded is not None and np.abs(got * np.tile(decoded.image.size, 2) - want).max() <= 2:
        return Cause("range", "boxes are shares of the picture in place of pixels")
    if decoded is not None and tuple(one.got.crop_box) == (0, 0, *decoded.image.size):
        return Cause("crop", "the whole picture is taken in place of the face")
    scale = float((got[2] - got[0]) / max(want[2] - want[0], 1e-9))
    return Cause(
        "face finder", f"{one.name}: the box is {scale:.3f} times as wide: other weights, letterbox or decoding"
    )


def _resizes(one: Compared, dump: Dump, reference: Reference) -> Iterator[Attempt]:
    """S3 by other kernels, of other crops, laid otherwise."""
    policy = reference.policy.pixel_pipeline
    size = (policy.input_size, policy.input_size)
    pixels, decoded = dump.of(one.picture, "S1"), reference.decoded(one.picture)
    image = Image.fromarray(pixels) if pixels is not None else None if decoded is None else decoded.image
    if image is not None:
        face = dump.head.pictures[one.picture].faces[one.face or 0]
        crop = cut(image, CropBox(*face.crop_box), reference.policy.face_detector)
        for name, make in _kernels(policy).items():
            yield "kernel", name, np.asarray(make(crop, size))
        whole = image.resize(size, Image.Resampling[policy.resize_kernel.upper()])
        yield "crop", "the whole picture is stretched in place of the face", np.asarray(whole)
        boxed = image.resize(size, Image.Resampling[policy.resize_kernel.upper()], box=face.crop_box)
        yield "crop", "resize(box=…): the kernel reads beyond the crop", np.asarray(boxed)
    for name, order in CHANNELS.items():
        yield "order", f"channels in the order {name}", one.want[..., list(order)]
    for name, view in _turned(one.want):
        yield "orientation", f"rows and columns {name}", view
    for less in (1, 2):
        lowered = np.clip(one.want.astype(np.int16) - less, 0, 255)
        yield "rounding", "levels are cut off in place of rounded", np.minimum(one.want, np.maximum(one.got, lowered))


def _kernels(policy: PixelPipeline) -> Mapping[str, Callable[[Image.Image, tuple[int, int]], Image.Image]]:
    def sampled(crop: Image.Image, size: tuple[int, int]) -> Image.Image:
        scale = (crop.width / size[0], 0.0, 0.0, 0.0, crop.height / size[1], 0.0)
        return crop.transform(size, Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)

    def by(kernel: Image.Resampling, crop: Image.Image, size: tuple[int, int]) -> Image.Image:
        return crop.resize(size, kernel)

    found: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
        f"{kernel.name.lower()} in place of {policy.resize_kernel}": partial(by, kernel)
        for kernel in Image.Resampling
        if kernel.name.lower() != policy.resize_kernel
    }
    found["bilinear without antialias"] = sampled
    found["reduced in two steps (reducing_gap)"] = lambda crop, size: crop.resize(
        size, Image.Resampling[policy.resize_kernel.upper()], reducing_gap=1.0
    )
    return found


def _rescaled(levels: Array, policy: PixelPipeline) -> Iterator[Attempt]:
    """Levels by every usual normalisation but the contract's."""
    mean, std = np.array(policy.normalisation_mean), np.array(policy.normalisation_std)
    unit = levels.astype(np.float64) * policy.pixel_scale
    yield "range", "0 … 1, without mean and deviation", unit
    yield "range", "-1 … 1", unit * 2 - 1
    yield "range", "0 … 255 as they are", levels.astype(np.float64)
    yield "range", "scaled to 0 … 1 twice", (unit * policy.pixel_scale - mean) / std
    yield "range", "scaled to 0 … 1 twice, in integers", (np.floor(unit) * policy.pixel_scale - mean) / std
    yield "range", "mean taken away, not divided by the deviation", unit - mean
    yield "range", "divided by the deviation, mean not taken away", unit / std
    yield "range", "levels not scaled before mean and deviation", (levels - mean) / std
    yield "order", "mean and deviation of the other channel order", (unit - mean[::-1]) / std[::-1]


def _relaid(values: Array) -> Iterator[Attempt]:
    for name, order in CHANNELS.items():
        yield "order", f"channels in the order {name}", values[..., list(order)]
    yield "layout", "NCHW numbers read as NHWC (reshape for transpose)", values.transpose(2, 0, 1).reshape(values.shape)
    other = values.reshape(values.shape[2], *values.shape[:2]).transpose(1, 2, 0)
    yield "layout", "NHWC numbers read as NCHW (reshape for transpose)", other
    yield "layout", "rows and columns exchanged", values.swapaxes(0, 1)


def _normalisations(one: Compared, dump: Dump, reference: Reference) -> Iterator[Attempt]:
    levels = dump.of(one.picture, "S3", one.face)
    if levels is None:
        levels = reference.dump.of(one.picture, "S3", one.face)
    if levels is not None:
        yield from _rescaled(levels, reference.policy.pixel_pipeline)
    yield from _relaid(one.want)
    yield "rounding", "half precision (float16)", one.want.astype(np.float16)


def _maps(one: Compared, dump: Dump, reference: Reference) -> Iterator[Attempt]:
    """S5 laid otherwise, scaled otherwise, or computed of a tensor that was."""
    for name, view in _turned(one.want):
        yield "layout", f"cells {name}", view
    yield "sign", "negated: real is counted as fake", -one.want
    yield "range", "probabilities in place of logits", 1 / (1 + np.exp(-np.clip(one.want, -60, 60)))
    yield "rounding", "half precision (float16) of the output", one.want.astype(np.float16)
    tensor, levels = dump.of(one.picture, "S4", one.face), dump.of(one.picture, "S3", one.face)
    if levels is None:
        levels = reference.dump.of(one.picture, "S3", one.face)
    if levels is None:
        return
    from ecdd.pipeline.preprocess import normalise

    right = normalise(levels, reference.policy.pixel_pipeline) if tensor is None else tensor
    inputs = [*_relaid(right), *_rescaled(levels, reference.policy.pixel_pipeline)]
    for kind, what, value in inputs:
        yield kind, f"the model is given: {what}", map_of(reference, np.asarray(value, np.float32))
    rounded = map_of(reference, right.astype(np.float16).astype(np.float32))
    yield "rounding", "the model is given half precision (float16)", rounded


def _poolings(one: Compared, dump: Dump, reference: Reference) -> Iterator[Attempt]:
    values = dump.of(one.picture, "S5", one.face)
    if values is None:
        return
    flat, policy = np.ascontiguousarray(values, np.float32).ravel(), reference.policy.pooling
    for name, rule in RULES.items():
        if name != policy.rule:
            yield "pooling", f"{name} in place of {policy.rule}", rule.pool(flat, policy)
    yield "pooling", "the largest cell", float(flat.max())
    yield "pooling", "the sum", float(flat.sum(dtype=np.float64))
    yield "pooling", "the middle value", float(np.median(flat))


def _probabilities(one: Compared, dump: Dump, reference: Reference) -> Iterator[Attempt]:
    logit = dump.head.pictures[one.picture].faces[one.face or 0].pooled_logit
    if logit is None:
        return

    def sigmoid(value: float) -> float:
        return float(1 / (1 + np.exp(-np.clip(value, -60, 60))))

    yield "calibration", "no calibration: sigmoid of the pooled logit", sigmoid(logit)
    yield "calibration", "sigmoid twice", sigmoid(one.want)
    yield "calibration", "sigmoid twice, without calibration", sigmoid(sigmoid(logit))
    yield "sign", "the probability of real", 1 - one.want
    record = reference.bundle.calibration
    yield "calibration", "multiplied by the temperature in place of divided", sigmoid(logit * record.temperature)
    yield "calibration", "the bias left out", sigmoid(logit / record.temperature)


def _of_decisions(moved: Sequence[Compared], dump: Dump, reference: Reference) -> Cause:
    """S8: which rule gives the dump's decisions of its own probabilities."""
    one = moved[0]
    broken = [one for one in moved if set(one.got.reason_codes) - {*one.want.reason_codes, "MD-001"}]
    if broken or all(one.got.label == one.want.label for one in moved):
        one = (broken or moved)[0]
        return Cause(
            "threshold", f"{one.picture}: codes {one.got.reason_codes}, frozen {one.want.reason_codes}: a gate"
        )
    policy = reference.policy
    halves = policy.operating_point.model_copy(update={"t_real": 0.5, "t_fake": 0.5})
    rules = {"one threshold of 0.5": (halves, policy.quality_gates)}
    ignoring = policy.quality_gates.model_copy(update={"unjudged_face_policy": "ignore"})
    rules["faces that fail a gate are overlooked"] = (policy.operating_point, ignoring)
    for what, (point, gates) in rules.items():
        if all(_label(dump, entry.picture, point, gates) == entry.got.label for entry in moved):
            return Cause("threshold", what)
    far = one.got.label, one.want.label
    return Cause(
        "threshold", f"{one.picture} is {far[0]} in place of {far[1]}: another threshold, gate or rule on faces"
    )


def _label(dump: Dump, picture: str, point: Any, gates: Any) -> str:  # noqa: ANN401 - two sections of the contract
    faces = dump.head.pictures[picture].faces
    found = {k: face.probability for k, face in enumerate(faces) if face.probability is not None}
    return decide(found, [face.reason_codes for face in faces], gates, point).label
