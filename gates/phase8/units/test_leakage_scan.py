"""Near-duplicates are found, strangers are not, and nothing unreadable is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.dataset_governance.leakage_scan import ScanResult, scan, union_groups
from ecdd.dataset_governance.photograph_match import LocalFeatures, shared_points
from ecdd.dataset_governance.picture_hashes import UnreadableError

CONTRACT = Path(__file__).resolve().parents[3] / "contracts" / "policy_contract.yaml"


def drawn(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A textured picture: coarse and fine random colours, different for every seed."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (width, height))
    for cells, weight in ((6, 1.0), (24, 0.5), (60, 0.3)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        canvas = Image.blend(canvas, noise.resize((width, height), Image.Resampling.BICUBIC), weight)
    return canvas


def scanned(folder: Path, pictures: dict[str, Image.Image]) -> tuple[ScanResult, dict[str, str]]:
    policy = load_contract(CONTRACT).policy
    keys, files = {}, []
    for name, picture in pictures.items():
        path = folder / name
        picture.save(path, quality=40) if path.suffix == ".jpg" else picture.save(path)
        keys[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append((keys[name], path))
    return scan(files, policy.pixel_pipeline, policy.dataset_governance), keys


COPIES: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
    "re-encoded": ("jpg", lambda image: image),
    "half size": ("png", lambda image: image.resize((image.width // 2, image.height // 2))),
    "mirrored": ("png", lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "turned by 90": ("png", lambda image: image.transpose(Image.Transpose.ROTATE_90)),
    "turned by 270 and mirrored": ("png", lambda image: image.transpose(Image.Transpose.TRANSVERSE)),
    "cropped by 5 % a side": ("png", lambda image: image.crop((16, 12, 304, 228))),
    "cropped off centre": ("png", lambda image: image.crop((60, 10, 300, 190))),
    "cropped and mirrored": ("png", lambda i: i.crop((16, 12, 304, 228)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}


@pytest.mark.parametrize("copy", sorted(COPIES))
def test_copy_joins_its_original_and_nothing_else(tmp_path: Path, copy: str) -> None:
    suffix, change = COPIES[copy]
    original = drawn(1)
    pictures = {"a.png": original, f"copy.{suffix}": change(original), "b.png": drawn(2), "c.png": drawn(3)}
    result, keys = scanned(tmp_path, pictures)
    groups = result.groups
    assert groups[keys["a.png"]] == groups[keys[f"copy.{suffix}"]]
    assert len({groups[keys[name]] for name in ("a.png", "b.png", "c.png")}) == 3
    assert [{pair.first, pair.second} for pair in result.pairs] == [{keys["a.png"], keys[f"copy.{suffix}"]}]


def test_different_pictures_stay_apart(tmp_path: Path) -> None:
    result, keys = scanned(tmp_path, {f"{seed}.png": drawn(seed) for seed in range(12)})
    assert result.groups == {key: key for key in keys.values()}
    assert result.pairs == ()


def test_hash_alone_does_not_see_a_crop(tmp_path: Path) -> None:
    # Why local features are there: if this fails, the second stage has become unnecessary.
    result, _ = scanned(tmp_path, {"a.png": drawn(1), "crop.png": drawn(1).crop((60, 10, 300, 190))})
    assert len(set(result.hash_groups.values())) == 2
    assert len(set(result.groups.values())) == 1


def test_points_at_one_place_are_one_shared_point() -> None:
    """A corner is often described twice, once for each direction; a picture and a moved copy share its place once."""
    places = np.random.default_rng(3).uniform(0, 200, (8, 2)).astype(np.float32)
    twice, described = np.repeat(places, 2, axis=0), np.eye(16, 128, dtype=np.float32)
    nothing = np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    pictures = [LocalFeatures(key, twice + moved, described, *nothing) for key, moved in (("a", 0), ("b", 20))]
    assert shared_points(pictures) == {(0, 1): 8}


def test_scan_repeats_exactly_and_in_any_order(tmp_path: Path) -> None:
    pictures = {"a.png": drawn(1), "b.png": drawn(2), "crop.png": drawn(1).crop((16, 12, 304, 228))}
    first, _ = scanned(tmp_path, pictures)
    again, _ = scanned(tmp_path, pictures)
    reversed_order, _ = scanned(tmp_path, dict(reversed(pictures.items())))
    assert first == again
    assert first.groups == reversed_order.groups


def test_picture_without_texture_is_scanned(tmp_path: Path) -> None:
    result, keys = scanned(tmp_path, {"flat.png": Image.new("RGB", (64, 48), (90, 20, 200)), "a.png": drawn(1)})
    assert set(result.groups) == set(keys.values())


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    policy = load_contract(CONTRACT).policy
    good, broken, gone = tmp_path / "good.png", tmp_path / "broken.jpg", tmp_path / "gone.jpg"
    drawn(1).save(good)
    broken.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(UnreadableError) as caught:
        scan([("a", good), ("b", broken), ("c", gone)], policy.pixel_pipeline, policy.dataset_governance)
    assert [text.split(":")[0] for text in caught.value.problems] == ["broken.jpg", "gone.jpg"]


def test_nothing_to_scan_is_an_error() -> None:
    policy = load_contract(CONTRACT).policy
    with pytest.raises(UnreadableError, match="no files"):
        scan([], policy.pixel_pipeline, policy.dataset_governance)


def test_groups_are_transitive_and_named_by_the_smallest() -> None:
    assert union_groups(["d", "b", "c", "a"], [("c", "d"), ("b", "c")]) == {"a": "a", "b": "b", "c": "b", "d": "b"}
