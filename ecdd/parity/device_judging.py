"""Holding a dump to the frozen stages, each given the dump's own stage before it, so that the first that moves shows.

A stage that only carries on an earlier deviation is not blamed for it: S3 is compared with the resize of the dump's own
crop, S5 with the map of the dump's own tensor. Whether anything of it reaches the decision is said by S8, which is
always that of the frozen picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from ecdd.inference.calibration import AppliedCalibration, probability
from ecdd.inference.pooling import pool
from ecdd.parity.device_dump import Dump, DumpedFace, DumpError
from ecdd.pipeline.face import Face
from ecdd.pipeline.preprocess import CropBox, normalise, resize
from ecdd.pipeline.stages import cut_face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.parity.device_reference import Reference

STAGES: Final = ("S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8")


@dataclass(frozen=True, eq=False)
class Compared:
    """One stage of one picture or face: what the dump holds, and what it should be given the stage before.

    Attributes
    ----------
    stage : str
        ``"S0"`` to ``"S8"``.
    picture : str
        Golden id.
    face : int or None
        Index.
    moved : float
        How far, in the stage's unit; exact stages count 0 or 1.
    got, want : object
        The two, arrays for S1, S3, S4 and S5.
    """

    stage: str
    picture: str
    face: int | None
    moved: float
    got: Any
    want: Any

    @property
    def name(self) -> str:
        """Picture and face for a reader."""
        return self.picture if self.face is None else f"{self.picture} face {self.face}"


@dataclass(frozen=True)
class StageLimit:
    """What the contract allows a stage on another platform, and the key that says so."""

    value: float
    unit: str
    clause: str


def limits(reference: Reference) -> dict[str, StageLimit]:
    """Limits by stage; of a model that computes in integers S5 is held to the limits of quantisation."""
    policy = reference.policy
    exact = StageLimit(0.0, "", "exact")
    s5 = StageLimit(policy.patch_grid.tolerance_s5, "of the map's spread", "patch_grid.tolerance_s5")
    if _in_integers(reference):
        s5 = StageLimit(
            policy.quantization.max_mean_patch_difference, "of the map's spread, mean", "quantization.max_mean_…"
        )
    return {
        "S0": exact,
        "S1": exact,
        "S2": StageLimit(1.0, "tolerances of box and score", "face_detector.tolerance_box, tolerance_score"),
        "S3": StageLimit(policy.pixel_pipeline.tolerance_s3, "level", "pixel_pipeline.tolerance_s3"),
        "S4": StageLimit(policy.pixel_pipeline.tolerance_s4, "", "pixel_pipeline.tolerance_s4"),
        "S5": s5,
        "S6": StageLimit(policy.pooling.tolerance_s6, "logit", "pooling.tolerance_s6"),
        "S7": StageLimit(policy.calibration.tolerance_s7, "", "calibration.tolerance_s7"),
        "S8": exact,
    }


def _in_integers(reference: Reference) -> bool:
    return reference.bundle.manifest.model.mode not in ("float32", "float16")


def check_same(dump: Dump, reference: Reference) -> None:
    """Refuse a dump of another bundle, or of pictures that the golden set does not have.

    Raises
    ------
    DumpError
        Naming both digests, or the unknown pictures.
    """
    mine, theirs = reference.bundle.payload_digest, dump.head.bundle_digest
    if mine != theirs:
        raise DumpError(f"bundle_digest: the dump is of {theirs[:16]}…, the bundle is {mine[:16]}…; name its --bundle")
    unknown = sorted(dump.head.pictures.keys() - reference.dump.head.pictures.keys())
    if unknown:
        raise DumpError(f"pictures: {', '.join(unknown[:5])}: not in the golden set; the ids are those of the kit")


def compare(dump: Dump, reference: Reference) -> list[Compared]:
    """Compare every stage that the dump holds.

    Parameters
    ----------
    dump : Dump
        Of any implementation.
    reference : Reference
        Of the same bundle and golden set.

    Returns
    -------
    list of Compared
        In the order of pictures, each by rising stage.
    """
    check_same(dump, reference)
    return [one for picture in dump.head.pictures for one in _picture(dump, reference, picture)]


def _picture(dump: Dump, reference: Reference, name: str) -> Iterator[Compared]:
    got, want = dump.head.pictures[name], reference.dump.head.pictures[name]
    yield Compared("S0", name, None, float(got.s0 != want.s0), got.s0, want.s0)
    if got.s1 is not None or want.s1 is None or got.s8.label != "abstain":
        yield Compared("S1", name, None, float(got.s1 != want.s1), got.s1, want.s1)
    if len(got.faces) == len(want.faces):
        for index, (face, frozen) in enumerate(zip(got.faces, want.faces, strict=True)):
            yield from _face(dump, reference, name, index, face, frozen)
    else:
        yield Compared("S2", name, None, np.inf, len(got.faces), len(want.faces))
    yield Compared("S8", name, None, float(got.s8 != want.s8), got.s8, want.s8)


def _face(
    dump: Dump, reference: Reference, name: str, index: int, face: DumpedFace, frozen: DumpedFace
) -> Iterator[Compared]:
    policy = reference.policy
    yield Compared("S2", name, index, _s2(face, frozen, reference), face, frozen)
    s3, s4, s5 = (dump.of(name, stage, index) for stage in ("S3", "S4", "S5"))
    want_s3 = expected_s3(dump, reference, name, index)
    if s3 is not None and want_s3 is not None:
        yield Compared("S3", name, index, _most(s3.astype(np.int16), want_s3.astype(np.int16)), s3, want_s3)
    if s3 is None:
        s3 = want_s3
    tensor = None if s3 is None else normalise(np.asarray(s3, np.uint8), policy.pixel_pipeline)
    if s4 is not None and tensor is not None:
        yield Compared("S4", name, index, _most(s4, tensor), s4, tensor)
    if s5 is not None and s3 is not None and tensor is not None:
        stored = reference.dump.of(name, "S5", index)
        frozen_s3 = reference.dump.of(name, "S3", index)
        same = frozen_s3 is not None and np.array_equal(s3, frozen_s3) and (s4 is None or np.array_equal(s4, tensor))
        mine = stored if same and stored is not None else map_of(reference, tensor if s4 is None else s4)
        if mine is not None:
            yield Compared("S5", name, index, _s5(s5, mine, mean=_in_integers(reference)), s5, mine)
    yield from _numbers(reference, name, index, face, s5)


def _numbers(
    reference: Reference, name: str, index: int, face: DumpedFace, s5: NDArray[np.float32] | None
) -> Iterator[Compared]:
    policy = reference.policy
    if face.pooled_logit is None:
        return
    if s5 is not None and policy.pooling.rule != "none":
        s6 = pool(s5, policy.pooling)
        yield Compared("S6", name, index, abs(face.pooled_logit - s6), face.pooled_logit, s6)
    if face.probability is not None:
        s7 = probability(AppliedCalibration.of(reference.bundle.calibration).logit(face.pooled_logit))
        yield Compared("S7", name, index, abs(face.probability - s7), face.probability, s7)


def _s2(face: DumpedFace, frozen: DumpedFace, reference: Reference) -> float:
    """Largest deviation of box and score, each over its tolerance."""
    part = reference.policy.face_detector
    box = max(abs(a - b) for a, b in zip(face.box, frozen.box, strict=True)) / part.tolerance_box
    crop = max(abs(a - b) for a, b in zip(face.crop_box, frozen.crop_box, strict=True))
    # corner and side of the crop are rounded: a box moved within its tolerance may move them by one pixel more
    return max(
        box, crop / (part.crop_margin * part.tolerance_box + 1), abs(face.score - frozen.score) / part.tolerance_score
    )


def expected_s3(dump: Dump, reference: Reference, name: str, index: int) -> NDArray[np.uint8] | None:
    """S3 of the dump's own crop: of its own S1 where it is another, which it must hold then."""
    face, frozen = dump.head.pictures[name].faces[index], reference.dump.head.pictures[name].faces[index]
    same_s1 = dump.head.pictures[name].s1 in (None, reference.dump.head.pictures[name].s1)
    if same_s1 and face.crop_box == frozen.crop_box and reference.policy.face_detector.crop_alignment != "eye_line":
        return reference.dump.of(name, "S3", index)
    pixels = dump.of(name, "S1")
    if same_s1:
        decoded = reference.decoded(name)
        image = None if decoded is None else decoded.image
    else:
        image = None if pixels is None else Image.fromarray(pixels)
    if image is None or not _inside(face.crop_box, image.size):
        return None
    as_found = Face(face.box, face.score)
    crop = cut_face(image, as_found, CropBox(*face.crop_box), reference.policy.face_detector)
    return resize(crop, reference.policy.pixel_pipeline)


def _inside(box: Sequence[int], size: tuple[int, int]) -> bool:
    return 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]


def map_of(reference: Reference, tensor: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The map that this machine computes of a tensor; None where it cannot be read."""
    side = reference.policy.pixel_pipeline.input_size
    if tensor.shape != (side, side, 3) or not np.isfinite(tensor).all():
        return None
    return np.asarray(reference.detector.runtime.outputs(np.ascontiguousarray(tensor)[None]).maps[0], np.float32)


def _most(got: NDArray[Any], want: NDArray[Any]) -> float:
    return float(np.abs(got - want).max()) if got.shape == want.shape else np.inf


def _s5(got: NDArray[np.float32], want: NDArray[np.float32], *, mean: bool) -> float:
    """Largest (or mean) difference of cells over the spread of the map; a map of one cell has none of its own."""
    if got.shape != want.shape or not np.isfinite(got).all():
        return np.inf
    spread = float(np.ptp(want)) if want.size > 1 else 1.0
    difference = np.abs(got.astype(np.float64) - want)
    return float(difference.mean() if mean else difference.max()) / max(spread, 1e-6)
