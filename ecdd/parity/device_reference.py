"""What a dump is held to: the frozen stages of a golden set and a bundle, or where nothing fits, this machine's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecdd.bundle.loading import Bundle
from ecdd.detector import Detector
from ecdd.files import parse_json
from ecdd.golden import golden_outputs
from ecdd.golden.golden_hashes import FrozenStages, load_frozen
from ecdd.golden.golden_sets import GoldenItem, GoldenSet
from ecdd.parity.device_dump import (
    Dump,
    DumpedDecision,
    DumpedFace,
    DumpedPicture,
    DumpHead,
    Platform,
    array_name,
)
from ecdd.pipeline.decode import Decoded, decode, s1_digest
from ecdd.pipeline.reason_codes import Rejected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.schema import PolicyContract
    from ecdd.tracing import StageRecord


@dataclass(frozen=True, eq=False)
class Reference:
    """A bundle's stages of its golden set, in the form of a dump.

    Attributes
    ----------
    bundle : Bundle
        Whose stages.
    golden : GoldenSet
        Checked; its items' paths are absolute.
    dump : Dump
        S0 to S8 of every picture, without S1's pixels and S4, which follow from S3.
    frozen : frozenset of str
        Pictures whose stages all are frozen ones; of the others this machine computed some.
    """

    bundle: Bundle
    golden: GoldenSet
    dump: Dump
    frozen: frozenset[str] = field(default_factory=frozenset)

    @property
    def policy(self) -> PolicyContract:
        """The bundle's contract."""
        return self.bundle.contract.policy

    @cached_property
    def detector(self) -> Detector:
        """Our own implementation on this machine, opened when it is first needed."""
        return Detector.load(self.bundle)

    def decoded(self, picture: str) -> Decoded | None:
        """S1 as this machine decodes it, which the golden stages say is right; None where the file is rejected."""
        path = Path(self.golden.item(picture).path)
        try:
            return decode(path.read_bytes(), self.policy.pixel_pipeline, name=path.name)
        except Rejected:
            return None


def make_dump(
    detector: Detector, items: Sequence[GoldenItem], platform: Platform, *, pixels: bool = False
) -> Iterator[tuple[int, Dump]]:
    """Dump pictures with this implementation, one after the other.

    Parameters
    ----------
    detector : Detector
        What computes.
    items : sequence of GoldenItem
        With absolute paths.
    platform : Platform
        Under which name.
    pixels : bool
        Also keep S1's pixels, which make a dump large.

    Yields
    ------
    int, Dump
        How many are done, and the dump so far.
    """
    pictures: dict[str, DumpedPicture] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for count, item in enumerate(items, start=1):
        record = detector.examine(Path(item.path))
        pictures[item.id] = _picture(record, item)
        arrays |= _arrays(record, item.id, detector.policy, pixels=pixels)
        head = DumpHead(
            dump_version=1, platform=platform, bundle_digest=detector.bundle.payload_digest, pictures=pictures
        )
        yield count, Dump(head, arrays)


def _picture(record: StageRecord, item: GoldenItem) -> DumpedPicture:
    faces = []
    prepared = record.prepared
    for index, face in enumerate(() if prepared is None else prepared.faces):
        judged = record.judged.get(index)
        faces.append(
            DumpedFace(
                box=face.face.box,
                score=face.face.score,
                crop_box=tuple(face.crop_box),
                reason_codes=[str(code) for code in face.reason_codes],
                pooled_logit=None if judged is None else judged.pooled_logit,
                calibrated_logit=None if judged is None else judged.calibrated_logit,
                probability=None if judged is None else judged.probability,
            )
        )
    decision = record.decision
    return DumpedPicture(
        s0=item.sha256 if prepared is None else prepared.decoded.sha256,
        s1=None if prepared is None else s1_digest(prepared.decoded.image),
        faces=faces,
        s8=DumpedDecision(
            label=decision.label,
            reason_codes=[str(code) for code in decision.reason_codes],
            deciding_face=decision.deciding_face,
        ),
        milliseconds={stage: round(value, 3) for stage, value in record.milliseconds.items()},
    )


def _arrays(record: StageRecord, name: str, policy: PolicyContract, *, pixels: bool) -> dict[str, NDArray[Any]]:
    if record.prepared is None:
        return {}
    found: dict[str, NDArray[Any]] = {}
    if pixels:
        found[array_name(name, "S1")] = np.asarray(record.prepared.decoded.image)
    for index, face in enumerate(record.prepared.faces):
        found[array_name(name, "S3", index)] = face.s3
        if index in record.judged:
            found[array_name(name, "S4", index)] = face.s4(policy.pixel_pipeline)
            found[array_name(name, "S5", index)] = record.judged[index].patch_map
    return found


def load_reference(bundle: Bundle, golden: GoldenSet, pictures: Sequence[str] | None = None) -> Reference:
    """Take the stages of a golden set from what is frozen, and compute here only what is not.

    Parameters
    ----------
    bundle : Bundle
        Checked.
    golden : GoldenSet
        From `ecdd.golden.golden_sets.load_checked`.
    pictures : sequence of str, optional
        Golden ids; all by default.

    Returns
    -------
    Reference
        Stages are frozen ones where the golden set's are of the bundle's preprocessing and the bundle has golden
        outputs of this golden set.
    """
    stages = load_frozen(golden.root)
    index = golden_outputs.read_index(bundle)
    usable = (
        stages.preprocessing_digest == bundle.manifest.preprocessing_digest
        and not golden_outputs.why_not_comparable(index, golden_outputs.golden_digest_of(golden.root))
        and index is not None
        and not golden_outputs.stale_parts(index, bundle)
    )
    items = [item for item in golden.items if pictures is None or item.id in pictures]
    kept: dict[str, DumpedPicture] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for item in items if usable else ():
        found = _frozen_picture(bundle, item, stages)
        if found is not None:
            kept[item.id], mine = found
            arrays |= mine
    platform = Platform(name="reference", kind="device")
    frozen = frozenset(kept)
    rest = [item for item in items if item.id not in kept]
    if rest:
        *_, (_, computed) = make_dump(Detector.load(bundle), rest, platform)
        kept |= computed.head.pictures
        arrays |= computed.arrays
    ordered = {item.id: kept[item.id] for item in items}
    head = DumpHead(dump_version=1, platform=platform, bundle_digest=bundle.payload_digest, pictures=ordered)
    return Reference(bundle, golden, Dump(head, arrays), frozen)


def _frozen_picture(
    bundle: Bundle, item: GoldenItem, stages: FrozenStages
) -> tuple[DumpedPicture, dict[str, NDArray[Any]]] | None:
    """Frozen S0 to S8 of one picture and its arrays; None where a part of them is missing."""
    stored, folder = stages.picture(item.id), f"{golden_outputs.OUTPUTS_FOLDER}/{item.set}/{item.id}"
    if stored is None or f"{folder}.json" not in bundle.manifest.files:
        return None
    told = parse_json(bundle.read(f"{folder}.json"), bundle.path / f"{folder}.json")
    if len(told["faces"]) != len(stored.faces):
        return None
    has_maps = f"{folder}.npy" in bundle.manifest.files
    maps = iter(golden_outputs.read_npy(bundle.read(f"{folder}.npy")) if has_maps else ())
    faces, arrays = [], {}
    for index, (face, late) in enumerate(zip(stored.faces, told["faces"], strict=True)):
        s7 = late.get("S7", {})
        faces.append(
            DumpedFace(
                box=face.box,
                score=face.score,
                crop_box=face.crop_box,
                reason_codes=late["reason_codes"],
                pooled_logit=late.get("S6", {}).get("logit"),
                calibrated_logit=s7.get("logit"),
                probability=s7.get("probability"),
            )
        )
        arrays[array_name(item.id, "S3", index)] = face.s3
        if "S6" in late:
            arrays[array_name(item.id, "S5", index)] = next(maps)
    s8 = {key: told["S8"][key] for key in ("label", "reason_codes", "deciding_face")}
    picture = DumpedPicture(s0=stored.s0, s1=stored.s1_digest, faces=faces, s8=DumpedDecision(**s8))
    return picture, arrays
