"""Labelled faces for the sweeps: the golden set always, and the pictures of ``--data`` when given.

Sweeps that choose a contract value read CALIBRATION only; TEST-NEVER-TOUCH is read to report, never to choose.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.contract.schema import PolicyContract
from ecdd.detector import Detector
from ecdd.pipeline.decode import decode, read_file
from ecdd.specification import CONTRACT, GOLDEN, SPLIT
from gates.support.fixtures import GoldenSet

# of size, sharpness and compression: what a team sets for its own model, and a sweep opens
LIMITS = ("min_image_side", "min_face_side", "blur_threshold", "min_jpeg_quality", "max_blockiness")


@dataclass(frozen=True)
class Portrait:
    """One labelled picture: 1 fake, 0 real, None out of scope; ``source`` as its manifest names it."""

    name: str
    path: Path
    label: int | None
    source: str = "golden"


def golden_portraits(golden: GoldenSet, name: str = "in_scope") -> list[Portrait]:
    """The pictures of one golden set."""
    labels = {"real": 0, "fake": 1, None: None}
    return [Portrait(item.id, Path(item.path), labels[item.expected.label]) for item in golden.by_set(name)]


def split_of(data_root: Path | None) -> Path:
    """The tags of ``--data``: those that stand beside its manifest, or the committed ones."""
    if data_root is None:
        return SPLIT
    from ecdd.dataset_governance.manifest import manifest_path

    own = manifest_path(data_root).with_name(SPLIT.name)
    return own if own.is_file() else SPLIT


def data_portraits(data_root: Path | None, scope: str, tags: Sequence[str]) -> list[Portrait]:
    """The pictures of ``--data`` with one of the lineage tags; empty without the option and where none is tagged so.

    A team may bring faces alone, or tag all of them CALIBRATION: the clause says what it could not test.
    """
    if data_root is None:
        return []
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.dataset_governance.manifest import load_manifest
    from ecdd.dataset_governance.validate_lineage import join

    pairs = join(load_manifest(data_root), load_split(split_of(data_root)))
    wanted = {LineageTag(tag) for tag in tags}
    chosen = [row for row, tagged in pairs if tagged.lineage in wanted and row.scope == scope]
    return [Portrait(row.name, row.path, row.label, row.source) for row in sorted(chosen, key=lambda row: row.sha256)]


def sweep_portraits(golden: GoldenSet, data_root: Path | None) -> dict[str, list[Portrait]]:
    """The golden pictures, and those of CALIBRATION in ``--data`` when given, by where they come from."""
    from_data = data_portraits(data_root, "face", ("CALIBRATION",))
    return {"golden": golden_portraits(golden)} | ({"data": from_data} if from_data else {})


def open_portrait(portrait: Portrait, policy: PolicyContract) -> Image.Image:
    """S1 of a portrait."""
    return decode(read_file(portrait.path, policy.pixel_pipeline), policy.pixel_pipeline).image


def jpeg(image: Image.Image, quality: int = 95, **options: Any) -> bytes:
    """A picture as JPEG, 4:4:4 so that chroma is not degraded on the way."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **({"subsampling": 0} | options))
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    """A picture without loss, and uncompressed: it is read once, in this process."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def side_by_side(pictures: Sequence[Image.Image], heights: Sequence[int]) -> bytes:
    """Whole portraits beside each other on grey; nobody's face is put on anybody else."""
    scaled = [
        picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)
        for picture, height in zip(pictures, heights, strict=True)
    ]
    canvas = Image.new("RGB", (sum(p.width for p in scaled) + 20 * (len(scaled) + 1), max(heights) + 40), (128,) * 3)
    left = 20
    for picture in scaled:
        canvas.paste(picture, (left, 20))
        left += picture.width + 20
    return png(canvas)


def with_limits_of(golden: GoldenSet, detector: Detector) -> Detector:
    """The detector under the limits that the shipped set's reason codes speak of; itself on a team's own set."""
    if golden.root.resolve() != GOLDEN.resolve():
        return detector
    theirs, ours = load_contract(CONTRACT).policy.quality_gates, detector.policy.quality_gates
    limits = {name: getattr(theirs, name) for name in LIMITS if getattr(theirs, name) != getattr(ours, name)}
    if not limits:
        return detector
    changed = {f"quality_gates.{name}": value for name, value in limits.items()}
    return Detector(detector.bundle, detector.contract.with_values(changed))


def relaxed(detector: Detector, **values: Any) -> Detector:
    """A detector whose quality gates let everything through, so that a sweep sees what the gates prevent."""
    gates = {f"quality_gates.{name}": value for name, value in zip(LIMITS, (1, 8, 0.0, 1, 100.0), strict=True)}
    return Detector(detector.bundle, detector.contract.with_values(gates | values))
