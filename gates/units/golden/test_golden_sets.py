"""The golden set holds what the specification asks for, and a changed, missing or extra file is noticed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageCms, JpegImagePlugin

from ecdd.golden.golden_sets import DEFAULT_ROOT, SIZES, GoldenError, GoldenItem, GoldenSet, load_golden
from golden.making.icc_profile import display_p3
from golden.making.png16 import rgb16


@pytest.fixture(scope="module")
def shipped() -> GoldenSet:
    return load_golden()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in (*SIZES, "sources"):
        shutil.copytree(DEFAULT_ROOT / name, tmp_path / name)
    shutil.copy(DEFAULT_ROOT / "manifest.yaml", tmp_path)
    return tmp_path


def test_shipped_set_is_complete(shipped: GoldenSet) -> None:
    shipped.verify()
    faces = shipped.by_set("in_scope")
    assert sum(item.expected.label == "real" for item in faces) == 15
    fakes = [item for item in faces if item.expected.label == "fake"]
    assert len(fakes) == 15
    assert {item.generator for item in fakes} == {"self_blended", "resynthesis", "generated"}
    assert sum(item.hard_negative for item in shipped.by_set("out_of_scope")) >= 5
    assert sum(shipped.file(item).stat().st_size for item in shipped.items) < 18_000_000


def test_no_forgery_shows_another_person(shipped: GoldenSet) -> None:
    for item in shipped.by_set("in_scope"):
        if item.expected.label == "fake":
            assert len(item.derived_from) <= 1, item.id
            assert all("White House" not in (shipped.item(name).photograph or "") for name in item.derived_from), (
                item.id
            )


def test_formats_cover_what_transposes_and_swaps_would_change(shipped: GoldenSet) -> None:
    chroma, exif, asymmetric = set(), set(), 0
    for item in shipped.items:
        with Image.open(shipped.file(item)) as picture:
            if picture.format == "JPEG" and picture.mode == "RGB":
                chroma.add(JpegImagePlugin.get_sampling(picture))
            if item.id.startswith("exif_orientation_"):
                exif.add(picture.getexif()[0x0112])
            pixels = np.asarray(picture.convert("RGB").resize((32, 32)), dtype=np.int16)
            changes = (pixels[::-1], pixels[:, ::-1], pixels.transpose(1, 0, 2), pixels[..., ::-1])
            wide = picture.width != picture.height
            asymmetric += wide and all(np.abs(pixels - changed).mean() > 8 for changed in changes)
    assert {0, 2} <= chroma  # 4:4:4 and 4:2:0
    assert exif == set(range(1, 9))
    assert asymmetric >= 20


def _tamper(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: (root / "in_scope/real_hopper.jpg").unlink(),
            "in_scope/real_hopper.jpg: listed in manifest.yaml, but",
        ),
        (lambda root: (root / "edge_cases/new.png").write_bytes(b"x"), "edge_cases/new.png: not in manifest.yaml"),
        (lambda root: _tamper(root / "out_of_scope/marble_bust.jpg"), "out_of_scope/marble_bust.jpg: sha256 is"),
        (lambda root: _tamper(root / "sources/oath.jpg"), "sources/oath.jpg: sha256 is"),
    ],
    ids=["missing", "extra", "changed", "changed_source"],
)
def test_verify_notices(copied: Path, change: Callable[[Path], object], message: str) -> None:
    load_golden(copied).verify()
    change(copied)
    with pytest.raises(GoldenError) as caught:
        load_golden(copied).verify()
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(message)


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("licence", "", "real_collins.licence"),
        ("path", "../real_collins.png", "items.real_collins"),
        ("sha256", "beef", "real_collins.sha256"),
        ("colour", "red", "real_collins.colour"),
        ("expected", {"scope": "face", "label": None, "outcome": "reaches_model", "reason_codes": []}, "expected"),
        ("expected", {"scope": "face", "label": "real", "outcome": "abstain", "reason_codes": ["GR-999"]}, "GR-999"),
    ],
)
def test_bad_manifest_is_named(copied: Path, key: str, value: object, where: str) -> None:
    document = yaml.safe_load((copied / "manifest.yaml").read_text())
    document["items"][0][key] = value
    (copied / "manifest.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(GoldenError, match=where):
        load_golden(copied)


def test_people_are_counted_not_claimed(copied: Path) -> None:
    document = yaml.safe_load((copied / "manifest.yaml").read_text())
    document["distinct_people"] += 1
    (copied / "manifest.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(GoldenError, match="14, 8 stated, 13, 8 counted"):
        load_golden(copied)


def test_sixteen_bit_png_keeps_the_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    with Image.open(io.BytesIO(rgb16(values))) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), (values >> 8).astype(np.uint8))


def test_profile_is_wide_gamut() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(display_p3()))
    change = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    image = ImageCms.applyTransform(Image.new("RGB", (1, 1), (200, 120, 120)), change)
    assert image is not None
    red, green, _ = np.asarray(image)[0, 0].tolist()
    assert red > 205
    assert green < 118  # the same numbers mean a stronger red in the wider gamut


def test_items_are_typed(shipped: GoldenSet) -> None:
    assert all(isinstance(item, GoldenItem) for item in shipped.items)
    assert len(shipped.items) == sum(SIZES.values())
