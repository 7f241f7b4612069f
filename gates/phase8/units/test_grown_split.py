"""A split that grows: pairs stay together, several scans join, and what was made with it before stays true."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.dataset_governance.build_split import build_split
from ecdd.dataset_governance.duplicate_groups import COLUMNS, read_groups
from ecdd.dataset_governance.lineage_history import history_path, record_split, split_as_of, split_cited
from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag, load_split
from ecdd.dataset_governance.manifest import ManifestError, load_manifest, load_manifests, merged_text

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def folder_of(place: Path, source: str, count: int, *, paired: bool = False) -> Path:
    """A data folder of noise pictures; paired ones come in couples of a fake and a real one."""
    place.mkdir()
    lines = ["path,label,scope,source,pair"]
    for k in range(count):
        seed = int(hashlib.sha256(f"{place.name}{k}".encode()).hexdigest()[:8], 16)
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{k}.png")
        lines.append(f"{k}.png,{k % 2},face,{source}{k % 2 if paired else ''},{f'p{k // 2}' if paired else ''}")
    (place / "manifest.csv").write_text("\n".join(lines) + "\n")
    return place


def test_pairs_take_one_tag_and_one_group(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", "film", 24, paired=True)
    split = build_split(data, tmp_path / "split.csv", train_share=0.6)
    rows = {row.name: split.rows[row.sha256] for row in load_manifest(data)}
    for k in range(0, 24, 2):
        assert rows[f"{k}.png"].lineage is rows[f"{k + 1}.png"].lineage
        assert rows[f"{k}.png"].near_duplicate_group == rows[f"{k + 1}.png"].near_duplicate_group
    assert len({row.near_duplicate_group for row in rows.values()}) == 12


@pytest.mark.parametrize("share", [0.2, 0.6, 0.8])
def test_the_share_asked_for_is_trained_on_and_the_rest_is_halved(tmp_path: Path, share: float) -> None:
    split = build_split(folder_of(tmp_path / "data", "s", 20), tmp_path / "split.csv", train_share=share)
    counts = [len(split.rows_with([tag])) for tag in (LineageTag.TRAIN, LineageTag.CALIBRATION)]
    assert counts == [round(20 * share), round(20 * (1 - share) / 2)]


def test_an_earlier_record_is_held_to_the_split_of_its_day(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a", "old", 8), folder_of(tmp_path / "b", "new", 12)
    path = tmp_path / "split.csv"
    before = build_split(first, path)
    record_split(before, history_path(path), "test", NOW)
    after = build_split([first, second], path, base=before)
    record_split(after, history_path(path), "test", NOW)
    assert len(after.rows) == 20
    assert {key: after.rows[key] for key in before.rows} == before.rows
    assert split_as_of(load_split(path), history_path(path), before.digest) == before
    assert split_cited(path, {"data_split_digest": before.digest}).rows == before.rows
    assert split_cited(path, {"data_split_digest": after.digest}).digest == after.digest
    assert split_as_of(after, history_path(path), "0" * 64) is None
    assert split_cited(path, {}).digest == after.digest


def test_groups_of_several_scans_are_joined(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", "s", 6)
    rows = load_manifest(data)
    a, b, c, *rest = sorted(row.sha256 for row in rows)

    def written(name: str, groups: dict[str, str]) -> Path:
        path = tmp_path / name
        lines = [",".join(COLUMNS), *(f"{key},{group},{key},x" for key, group in groups.items())]
        path.write_text("\n".join(lines) + "\n")
        return path

    whole = written("whole.csv", {key: key for key in (a, b, c, *rest)} | {b: a})
    part = written("part.csv", {b: b, c: b})
    near, _ = read_groups([whole, part], rows)
    assert near[a] == near[b] == near[c] == a
    assert {near[key] for key in rest} == set(rest)
    with pytest.raises(LineageError, match=r"not in part.csv; scan again"):
        read_groups([part], rows)


def test_a_picture_of_two_manifests_is_named(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a", "old", 2), folder_of(tmp_path / "b", "new", 2)
    (second / "0.png").write_bytes((first / "0.png").read_bytes())
    with pytest.raises(ManifestError, match=r"0\.png: the same picture as .*a.0\.png"):
        load_manifests([first, second])
    skipped: list[str] = []
    assert len(load_manifests([first, second], skipped=skipped)) == 3
    assert len(skipped) == 1


def test_merged_manifests_hold_every_row_and_find_every_file(tmp_path: Path) -> None:
    data = [folder_of(tmp_path / "a", "old", 2), folder_of(tmp_path / "b", "new", 3)]
    out = tmp_path / "deep" / "er" / "all.csv"
    out.parent.mkdir(parents=True)
    out.write_text(merged_text(data, out.parent))
    merged = load_manifest(out)
    assert [(row.sha256, row.label, row.source) for row in merged] == [
        (row.sha256, row.label, row.source) for row in load_manifests(data)
    ]
    with pytest.raises(ManifestError, match="the same picture as"):
        merged_text([data[0], data[0]], out.parent)
