"""A split for a manifest of one's own: copies, persons and held-out sources stay together, contradictions are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.dataset_governance.build_split import build_split
from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag
from ecdd.dataset_governance.manifest import ManifestError, load_manifest


def write_pictures(folder: Path, rows: list[str]) -> Path:
    """A manifest whose files are seeded noise, one a name; a name that ends in ``-copy`` is its twin as JPEG."""
    for row in rows:
        path = folder / row.split(",")[0]
        stem = path.stem.removesuffix("-copy")
        noise = np.random.default_rng(list(stem.encode())).integers(0, 256, (9, 11, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((220, 180), Image.Resampling.BICUBIC)
        picture.save(path, quality=80) if path.suffix == ".jpg" else picture.save(path)
    text = "\n".join(["path,label,scope,source,identity,lineage", *rows]) + "\n"
    (folder / "manifest.csv").write_text(text)
    return folder


def test_own_split_keeps_copies_persons_and_sources_together(tmp_path: Path) -> None:
    rows = [f"p{k}.png,{k % 2},face,s{k % 2},," for k in range(12)]
    rows += ["p0-copy.jpg,0,face,s0,,", "q1.png,0,face,s0,ann,", "q2.png,0,face,s0,ann,", "q3.png,0,face,s0,bob,AUDIT",
             "q4.png,0,face,s0,bob,", "r1.png,1,face,new,,", "r2.png,1,face,new,,"]  # fmt: skip
    data = write_pictures(tmp_path, rows)
    split = build_split(data, tmp_path / "split.csv", held_out=["new"])
    manifest = {row.name: split.rows[row.sha256] for row in load_manifest(data)}
    assert manifest["p0.png"].near_duplicate_group == manifest["p0-copy.jpg"].near_duplicate_group
    assert manifest["q1.png"].near_duplicate_group == manifest["q2.png"].near_duplicate_group
    assert manifest["q1.png"].identity == "ann"
    assert {manifest[name].lineage for name in ("q3.png", "q4.png")} == {LineageTag.AUDIT}
    assert {manifest[name].lineage for name in ("r1.png", "r2.png")} == {LineageTag.TEST_NEVER_TOUCH}
    assert {row.lineage for row in split.rows.values()} == set(LineageTag)
    again = build_split(data, tmp_path / "again.csv", base=split)
    assert again == split


def test_contradictions_of_an_own_split_name_both_ends(tmp_path: Path) -> None:
    data = write_pictures(tmp_path, ["a.png,0,face,s,,TRAIN", "a-copy.jpg,0,face,s,,AUDIT", "b.png,1,face,t,,"])
    with pytest.raises(
        LineageError, match=r"a-copy.jpg is to be AUDIT and a.png TRAIN|a.png is to be TRAIN and a-copy"
    ):
        build_split(data, tmp_path / "split.csv")
    with pytest.raises(LineageError, match="held-out source gone"):
        build_split(data, tmp_path / "split.csv", held_out=["gone"])
    data = write_pictures(tmp_path, ["a.png,0,face,s,ann,TRAIN", "b.png,1,face,t,ann,AUDIT"])
    with pytest.raises(ManifestError, match=r"identity ann is in AUDIT \(b.png\) and in TRAIN \(a.png\)"):
        load_manifest(data)


def test_skipping_bad_rows_keeps_the_others_and_says_what_was_left_out(tmp_path: Path) -> None:
    rows = ["a.png,0,face,s,,", "a.png,0,face,s,,", "b.png,7,face,s,,", "c.png,1,face,s,,KEEP", "d.png,1,face,s,,"]
    data = write_pictures(tmp_path, rows)
    path = data / "manifest.csv"
    path.write_text(path.read_text() + "gone.png,0,face,s,,\nshort,0\n")
    skipped: list[str] = []
    assert [row.name for row in load_manifest(data, skipped=skipped)] == ["a.png", "d.png"]
    assert sorted(line.split(":")[1] for line in skipped) == ["3", "4", "5", "7", "8"]
    with pytest.raises(ManifestError) as caught:
        load_manifest(data)
    assert sorted(caught.value.problems) == sorted(skipped)
