"""E1.4 EXIF orientation: all 8 EXIF orientations of one picture give one S1, and upright faces to the detector.

Phones store pictures turned and say so in a tag; a path that ignores the tag shows the detector faces on their side.
Fails when a tag is not applied, applied wrongly or applied twice, or when a broken tag turns a picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecdd.pipeline.decode import decode, read_file, s1_digest
from gates.support.fixtures import Evidence, GoldenSet, PolicyContract, Prepared
from gates.support.made_pictures import asymmetric, encode, exif_with_orientation, stored_for


@pytest.mark.experiment("E1.4")
def test_eight_tags_give_one_s1(evidence: Evidence, policy: PolicyContract) -> None:
    picture = asymmetric()
    for image_format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        digests = {}
        for tag in range(1, 9):
            data = encode(stored_for(picture, tag), image_format, exif=exif_with_orientation(tag), **options)
            digests[tag] = s1_digest(decode(data, policy.pixel_pipeline).image)
        wrong = [f"orientation {tag}" for tag, digest in digests.items() if digest != s1_digest(picture)]
        evidence.none(f"{image_format}_orientations_differing", wrong, n=8, unit="tag")


@pytest.mark.experiment("E1.4")
def test_jpeg_tag_turns_the_same_pixels(evidence: Evidence, policy: PolicyContract) -> None:
    """JPEG stores no turned copy without loss: one file with eight tags must give the eight turns of one S1."""
    plain = decode(encode(asymmetric(), "JPEG", quality=90), policy.pixel_pipeline).image
    wrong = []
    for tag in range(1, 9):
        data = encode(asymmetric(), "JPEG", quality=90, exif=exif_with_orientation(tag))
        decoded = decode(data, policy.pixel_pipeline)
        if decoded.orientation != tag or stored_for(decoded.image, tag).tobytes() != plain.tobytes():
            wrong.append(f"orientation {tag}")
    evidence.none("jpeg_orientations_differing", wrong, n=8, unit="tag")


@pytest.mark.experiment("E1.4")
def test_broken_tags_count_as_upright(evidence: Evidence, policy: PolicyContract) -> None:
    picture = asymmetric()
    blocks = {"0": 0, "9": 9, "255": 255, "65535": 65535}
    broken = {f"orientation {name}": exif_with_orientation(value) for name, value in blocks.items()}
    broken["garbage"] = b"Exif\0\0" + bytes(range(64))
    broken["cut"] = exif_with_orientation(6)[:12]
    wrong = []
    for name, exif in broken.items():
        decoded = decode(encode(picture, "PNG", exif=exif), policy.pixel_pipeline)
        if decoded.orientation != 1 or s1_digest(decoded.image) != s1_digest(picture):
            wrong.append(name)
    evidence.none("broken_tags_applied", wrong, n=len(broken), unit="file")


@pytest.mark.experiment("E1.4")
def test_upright_faces_reach_the_detector(
    evidence: Evidence, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    """The eight golden orientations of one portrait: one S1, one box, and eyes above the mouth."""
    items = [item for item in golden.by_set("edge_cases") if item.id.startswith("exif_orientation")]
    tags = {
        decode(read_file(Path(item.path), policy.pixel_pipeline), policy.pixel_pipeline).orientation for item in items
    }
    evidence.check("golden_orientations", len(tags), limit=8, op="==", unit="tag", n=len(items))
    digests = {item.id: s1_digest(prepared(item).decoded.image) for item in items}
    wrong = [key for key, digest in digests.items() if digest != next(iter(digests.values()))]
    evidence.none("golden_s1_differing", wrong, n=len(items))
    lying = []
    boxes = []
    for item in items:
        faces = prepared(item).faces
        boxes += [face.face.box for face in faces[:1]]
        eyes_above_mouth = bool(faces) and faces[0].face.landmarks[0][1] < faces[0].face.landmarks[3][1]
        if not eyes_above_mouth:
            lying.append(item.id)
    evidence.none("faces_not_upright", lying, n=len(items))
    spread = float(np.ptp(np.asarray(boxes), axis=0).max()) if boxes else float("nan")
    evidence.check("box_spread", spread, limit=0.0, op="==", unit="px", n=len(boxes))
